package race

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// changesRace measures which changes a container made to an image.
type changesRace struct {
	image  layers.Shape
	size   string
	field  []string
	counts []int // of changed files
	rounds int
	budget time.Duration
}

var (
	baseChanges = changesRace{layers.Base, "5,500 entries", []string{result.Ours, result.OursInProcess, result.ZFS, result.Overlay2}, []int{1, 100, 10_000}, 3, 80 * time.Second}
	// moby's zfs walks the whole image: minutes, for the same result as with the base
	// layer.
	manyChanges = changesRace{layers.Many, "100,000 files", []string{result.Ours, result.Overlay2}, []int{1}, 1, 40 * time.Second}
)

// changedLayers are containers' layers by contender, made in the first round.
type changedLayers map[string][]changedLayer

type changedLayer struct{ id, init string }

func changesGroup(r *runner, c changesRace) group {
	g := group{name: "changes " + c.image.Name, budget: c.budget}
	for _, n := range c.counts {
		g.rows = append(g.rows, makeTimeRow("changes", changesID("changes", c.image, n), "Changes of a container's layer against the one below. Warm.",
			"list %s on an image of %s", formatCount(n), c.size))
	}
	for _, n := range c.counts {
		g.rows = append(g.rows, makeTimeRow("changes", changesID("diffsize", c.image, n), "DiffSize of the same.",
			"size of %s on an image of %s", formatCount(n), c.size))
	}
	prepared := changedLayers{}
	g.entries = entriesFor(c.field, c.rounds, func(l *turn) error { return l.measureChanges(c, prepared) })
	if c.image == layers.Base {
		walk := changesID("changes", c.image, 1)
		g.entries = append(g.entries, entry{contender: result.GNU, rounds: c.rounds, rows: []string{walk}, run: func(l *turn) error {
			return l.timeFind(r, c.image, walk)
		}})
	}
	return g
}

// formatCount formats a number of changes.
func formatCount(n int) string {
	switch {
	case n == 1:
		return "1 change"
	case n >= 1000:
		return fmt.Sprintf("%d,%03d changes", n/1000, n%1000)
	}
	return fmt.Sprintf("%d changes", n)
}

func changesID(call string, image layers.Shape, n int) string {
	return fmt.Sprintf("%s.%s.%d", call, image.Name, n)
}

func (l *turn) measureChanges(c changesRace, prepared changedLayers) error {
	image := c.image
	for i, n := range c.counts {
		if i >= len(prepared[l.Name]) {
			layer, err := l.changedLayer(image, n)
			if err != nil {
				return fmt.Errorf("change %d files: %w", n, err)
			}
			prepared[l.Name] = append(prepared[l.Name], layer)
		}
		layer := prepared[l.Name][i]
		if err := l.timeIdleRow(changesID("changes", image, n), func() error { return l.countChanges(layer, n) }); err != nil {
			return err
		}
		if err := l.timeRow(changesID("diffsize", image, n), func() error { return l.checkDiffSize(layer, n) }); err != nil {
			return err
		}
	}
	return nil
}

// changedLayer makes a container that changed n files of its image.
func (l *turn) changedLayer(image layers.Shape, n int) (changedLayer, error) {
	base, err := l.Image(image)
	if err != nil {
		return changedLayer{}, err
	}
	id, init, err := l.createContainer(base)
	if err != nil {
		return changedLayer{}, err
	}
	return changedLayer{id, init}, l.Fill(id, func(dir string) error { return replaceFiles(dir, image, 0, n) })
}

// countChanges checks that a fast result is also right.
func (l *turn) countChanges(c changedLayer, n int) error {
	changes, err := l.Changes(c.id, c.init)
	if err == nil && len(changes) < n {
		err = fmt.Errorf("%d changes, want at least %d", len(changes), n)
	}
	return err
}

func (l *turn) checkDiffSize(c changedLayer, n int) error {
	size, err := l.DiffSize(c.id, c.init)
	if err == nil && size < int64(n)*256 {
		err = fmt.Errorf("size %d, want at least %d", size, n*256)
	}
	return err
}

// timeFind walks the whole image once: the least that a comparison of trees costs.
func (l *turn) timeFind(r *runner, image layers.Shape, id string) error {
	dir := filepath.Join(l.Root, "tree-"+image.Name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := l.extractTree(r, image, dir); err != nil {
			return err
		}
	}
	return l.timeIdleRow(id, func() error {
		cmd := exec.Command("find", dir, "-newer", dir)
		cmd.Stdout = onlyWriter{io.Discard}
		return cmd.Run()
	})
}

func (l *turn) extractTree(r *runner, image layers.Shape, dir string) error {
	tar, err := r.tars.open(image)
	if err != nil {
		return err
	}
	defer tar.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("tar", "-C", dir, "-xpf", "-")
	cmd.Stdin = tar
	return cmd.Run()
}
