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

// runRecovering runs a entry; what panics in it is an error of this contender alone.
func (l *turn) runRecovering(run func(*turn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run(l)
}

// addSample adds a figure to a row of the group.
func (l *turn) addSample(id string, value float64) {
	for _, row := range l.group.rows {
		if row.ID == id {
			l.runner.report.AddSample(row, l.Name, value)
			return
		}
	}
	panic("no row " + id)
}

// timeRow adds the milliseconds that do took to a row.
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

// timeIdleRow is timed with nothing of before under way.
func (l *turn) timeIdleRow(id string, do func() error) error {
	if err := l.awaitIdle(); err != nil {
		return err
	}
	return l.timeRow(id, do)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// awaitIdle returns when nobody does anything in the background and all is on disk.
func (l *turn) awaitIdle() error {
	runtime.GC() // ours and the peers that run in this process share its heap
	var errs []error
	for _, c := range l.runner.open.ListOpened() {
		errs = append(errs, c.AwaitIdle())
	}
	return errors.Join(errors.Join(errs...), l.awaitFreed(), l.syncPool())
}

// syncPool returns when all that was written is on disk.
func (l *turn) syncPool() error { return contenders.RunCommand("zpool", "sync", l.runner.Pool) }

// awaitFreed returns when ZFS gives no blocks back any more, which it does in the
// background.
func (l *turn) awaitFreed() error {
	return contenders.RunCommand("zpool", "wait", "-t", "free", l.runner.Pool)
}

// createContainer makes a container's two layers on an image, as dockerd does, and
// leaves them unmounted.
func (l *turn) createContainer(image string) (id, init string, err error) {
	return createContainerLayers(l.Contender, l.NewID(), image)
}

// createContainerLayers makes the layers that dockerd makes for a container: one with
// the few files every container has, and the container's own.
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
