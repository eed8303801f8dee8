package race

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// buildSteps is the number of instructions in the build.
const buildSteps = 20

// builder is one of the engine's builders, as the calls that it makes of a driver.
type builder struct {
	slug, title, note string
	step              func(l *turn, parent string, n int) (layer string, err error)
	finish            func(l *turn, stack []string) error
	field             []string
	budget            time.Duration
}

var (
	buildKit = builder{
		slug: "buildkit", title: "20-step build, storage calls of BuildKit", budget: 120 * time.Second,
		note: "Each step Create, Get, five new files of 10 KB and one of the image's replaced, Put; at the end a Diff of each, all at once. On the base layer, warm.",
		step: (*turn).buildKitStep, finish: (*turn).diffAll, field: fullField,
	}
	classic = builder{
		slug: "classic", title: "20-step build, storage calls of the classic builder", budget: 140 * time.Second,
		note: "Each step a container: its two layers made, mounted and filled as with BuildKit; committed by Diff, Create and ApplyDiff; removed. On the base layer, warm.",
		step: (*turn).classicStep, finish: func(*turn, []string) error { return nil },
		field: fullField,
	}
)

func buildGroup(b builder) group {
	id := "build." + b.slug
	return group{
		name: id, budget: b.budget,
		rows:    []result.Row{makeTimeRow("build", id, b.note, "%s", b.title)},
		entries: entriesFor(b.field, 2, func(l *turn) error { return l.measureBuild(b, id) }),
	}
}

func (l *turn) measureBuild(b builder, id string) error {
	image, err := l.Image(layers.Base)
	if err != nil {
		return err
	}
	stack := []string{image}
	err = l.timeIdleRow(id, func() error {
		for n := range buildSteps {
			layer, err := b.step(l, stack[n], n)
			if err != nil {
				return fmt.Errorf("step %d: %w", n+1, err)
			}
			stack = append(stack, layer)
		}
		return b.finish(l, stack)
	})
	if err != nil {
		return err
	}
	return l.removeAll(stack[1:]...)
}

// stepFiles returns a function that writes the files of a step.
func stepFiles(n int) func(dir string) error {
	return func(dir string) error {
		for i := range 5 {
			if err := writeFile(filepath.Join(dir, "app", fmt.Sprintf("step-%d-%d", n, i)), 10<<10); err != nil {
				return err
			}
		}
		return replaceFiles(dir, layers.Base, n, n+1)
	}
}

func (l *turn) buildKitStep(parent string, n int) (string, error) {
	id := l.NewBuildID()
	if err := l.Create(id, parent, nil); err != nil {
		return "", err
	}
	return id, l.Fill(id, stepFiles(n))
}

// diffAll reads the diffs of a stack in parallel, as BuildKit does.
func (l *turn) diffAll(stack []string) error {
	errs := make([]error, len(stack))
	var all sync.WaitGroup
	for i := 1; i < len(stack); i++ {
		all.Go(func() { errs[i] = l.readDiffOf(stack[i], stack[i-1]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (l *turn) readDiffOf(id, parent string) error {
	diff, err := l.Diff(id, parent)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, diff)
	return errors.Join(err, diff.Close())
}

func (l *turn) classicStep(parent string, n int) (string, error) {
	container, init, err := l.createContainer(parent)
	if err != nil {
		return "", err
	}
	// The engine mounts a container once to set it up, and once more to run it.
	if err := l.Fill(container, func(string) error { return nil }); err != nil {
		return "", err
	}
	if err := l.Fill(container, stepFiles(n)); err != nil {
		return "", err
	}
	layer := l.NewID()
	if err := l.Fill(container, func(string) error { return l.commit(container, init, layer, parent) }); err != nil {
		return "", err
	}
	return layer, l.removeAll(init, container)
}

// commit makes a layer of the changes of a mounted container.
func (l *turn) commit(container, init, layer, parent string) error {
	diff, err := l.Diff(container, init)
	if err != nil {
		return err
	}
	err = l.Create(layer, parent, nil)
	if err == nil {
		_, err = l.ApplyDiff(layer, parent, diff)
	}
	return errors.Join(err, diff.Close())
}
