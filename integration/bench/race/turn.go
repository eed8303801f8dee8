package race

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/contenders"
)

// turn is one turn of a contender.
type turn struct {
	*contenders.Contender
	runner *runner
	group  *group
	round  int
}

// runRecovering calls run and returns a panic as this contender's error.
func (l *turn) runRecovering(run func(*turn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run(l)
}

// addSample adds a sample to a row of the group.
func (l *turn) addSample(id string, value float64) {
	for _, row := range l.group.rows {
		if row.ID == id {
			l.runner.report.AddSample(row, l.Name, value)
			return
		}
	}
	panic("no row " + id)
}

// timeRow adds the time of do to a row, in milliseconds.
func (l *turn) timeRow(id string, do func() error) error {
	begin := time.Now()
	err := do()
	took := time.Since(begin)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	l.addSample(id, milliseconds(took))
	return nil
}

// timeIdleRow is timeRow after awaitIdle.
func (l *turn) timeIdleRow(id string, do func() error) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	return l.timeRow(id, do)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// awaitIdle waits until no contender works in the background, and everything is on
// disk.
func (l *turn) awaitIdle() error {
	runtime.GC() // contenders in this process share its heap
	var errs []error
	for _, c := range l.runner.open.ListOpened() {
		errs = append(errs, c.AwaitIdle())
	}
	return errors.Join(errors.Join(errs...), l.awaitFreed(), l.syncPool())
}

// syncPool waits until everything written is on disk.
func (l *turn) syncPool() error { return contenders.RunCommand("zpool", "sync", l.runner.Pool) }

// awaitFreed waits until ZFS has freed blocks, which it does in the background.
func (l *turn) awaitFreed() error {
	return contenders.RunCommand("zpool", "wait", "-t", "free", l.runner.Pool)
}

// createContainer makes a container's two layers on an image, as dockerd does, and
// leaves them unmounted.
func (l *turn) createContainer(image string) (id, init string, err error) {
	return createContainerLayers(l.Contender, l.NewID(), image)
}

// createContainerLayers makes a container's two layers: the init layer, with a few
// files, and the container's own.
func createContainerLayers(c *contenders.Contender, id, image string) (_, init string, err error) {
	init = id + "-init"
	if err := c.CreateReadWrite(init, image, nil); err != nil {
		return "", "", err
	}
	if err := c.Fill(init, initFiles); err != nil {
		return "", "", err
	}
	return id, init, c.CreateReadWrite(id, init, nil)
}

// removeAll removes layers, the last first.
func (l *turn) removeAll(ids ...string) error {
	var errs []error
	for i := len(ids) - 1; i >= 0; i-- {
		errs = append(errs, l.Remove(ids[i]))
	}
	return errors.Join(errs...)
}
