package race

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/contenders"
	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// tarRace measures one layer's tar: apply, diff, remove.
type tarRace struct {
	shape   layers.Shape
	size    string // for titles
	field   []string
	rounds  int
	budget  time.Duration
	removes bool
}

var (
	smallTar = tarRace{
		shape: layers.Small, size: "small layer (25 entries, 200 KB)", rounds: 5, budget: 45 * time.Second,
		field: append([]string{result.GNU}, fullField...),
	}
	baseTar = tarRace{
		shape: layers.Base, size: "base layer (124 MB, 5,500 entries)", rounds: 2, budget: 150 * time.Second, removes: true,
		field: append([]string{result.GNU}, mainField...),
	}
	// moby's zfs and tmpfs would take minutes, for the same result as with the base
	// layer.
	manyTar = tarRace{
		shape: layers.Many, size: "layer of 100,000 small files", rounds: 1, budget: 400 * time.Second,
		field: []string{result.GNU, result.Ours, result.OursInProcess, result.Overlay2},
	}
	largeTar = tarRace{
		shape: layers.Large, size: "layer of 8 files, 2 GB", rounds: 1, budget: 150 * time.Second,
		field: []string{result.GNU, result.Ours, result.Overlay2},
	}
)

func tarGroup(r *runner, t tarRace) group {
	name := t.shape.Name
	g := group{name: "tar " + name, budget: t.budget, rows: []result.Row{
		makeTimeRow("tars", "apply."+name, "ApplyDiff of an empty layer without parent, what the driver waits for the disk included; GNU: tar -x, which waits for nothing. "+t.sourceNote(), "apply a %s", t.size),
		makeTimeRow("tars", "diff."+name, "Diff of the layer just applied, read to its end; GNU: tar -c. Warm.", "tar of a %s", t.size),
	}}
	if t.removes {
		g.rows = append(g.rows,
			makeTimeRow("layers", "remove."+name, "Remove of the layer until it answers; GNU: rm -r. Warm.", "remove a %s", t.size),
			makeTimeRow("layers", "removed."+name, "The same until nothing is left of it, in the background either.", "remove a %s, to the end", t.size))
	}
	for _, contender := range t.field {
		run := func(l *turn) error { return l.measureTar(r, t) }
		if contender == result.GNU {
			run = func(l *turn) error { return l.measureGnuTar(r, t) }
		}
		g.entries = append(g.entries, entry{contender: contender, rounds: t.rounds, run: run})
	}
	return g
}

func (t tarRace) sourceNote() string {
	if t.shape.Bytes >= memoryLimit {
		return "The tar is made while it is read: two processes at work."
	}
	return "The tar is in memory."
}

// measureTar applies, reads and removes a layer. The first layer of a shape is kept as
// an image for other groups, if later rounds have layers to remove.
func (l *turn) measureTar(r *runner, t tarRace) error {
	id := l.NewID()
	if err := l.Create(id, "", nil); err != nil {
		return err
	}
	if err := l.applyTar(r, t.shape, id); err != nil {
		return err
	}
	if err := l.timeIdleRow("diff."+t.shape.Name, func() error { return l.readDiff(id) }); err != nil {
		return err
	}
	if !l.HasImage(t.shape) && t.shape != layers.Large {
		l.KeepImage(t.shape, id)
		return nil
	}
	if !t.removes {
		return l.Remove(id)
	}
	return l.timeRemove(t.shape.Name, func() error { return l.Remove(id) })
}

// timeRemove measures when a removal answers and when its background work ends.
func (l *turn) timeRemove(name string, remove func() error) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	return l.timeRow("removed."+name, func() error {
		if err := l.timeRow("remove."+name, remove); err != nil {
			return err
		}
		return errors.Join(l.AwaitIdle(), l.awaitFreed())
	})
}

func (l *turn) applyTar(r *runner, s layers.Shape, id string) error {
	tar, err := r.tars.open(s)
	if err != nil {
		return err
	}
	defer tar.Close()
	return l.timeIdleRow("apply."+s.Name, func() error {
		_, err := l.ApplyDiff(id, "", tar)
		return err
	})
}

func (l *turn) readDiff(id string) error {
	diff, err := l.Diff(id, "")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, diff)
	return errors.Join(err, diff.Close())
}

// measureGnuTar does the same without a driver.
func (l *turn) measureGnuTar(r *runner, t tarRace) error {
	dir := filepath.Join(l.Root, fmt.Sprintf("%s-%d", t.shape.Name, l.round))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := l.gnuExtract(r, t.shape, dir); err != nil {
		return err
	}
	err := l.timeIdleRow("diff."+t.shape.Name, func() error {
		cmd := exec.Command("tar", "-C", dir, "-cf", "-", ".")
		cmd.Stdout = onlyWriter{io.Discard}
		return cmd.Run()
	})
	if err != nil {
		return err
	}
	remove := func() error { return contenders.RunCommand("rm", "-r", dir) }
	if t.shape == layers.Many {
		return nil // as with drivers, which keep theirs
	}
	if !t.removes {
		return remove()
	}
	return l.timeRemove(t.shape.Name, remove)
}

func (l *turn) gnuExtract(r *runner, s layers.Shape, dir string) error {
	tar, err := r.tars.open(s)
	if err != nil {
		return err
	}
	defer tar.Close()
	return l.timeIdleRow("apply."+s.Name, func() error {
		cmd := exec.Command("tar", "-C", dir, "--numeric-owner", "-xpf", "-")
		cmd.Stdin = tar
		return cmd.Run()
	})
}

// onlyWriter hides io.Discard's ReadFrom, so that all output is read from a pipe in the
// same way.
type onlyWriter struct{ io.Writer }
