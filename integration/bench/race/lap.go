package race

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/stable"
)

// lap is one turn of a contender.
type lap struct {
	*stable.Contender
	runner *runner
	group  *group
	round  int
}

// attempt runs a lane; what panics in it is an error of this contender alone.
func (l *lap) attempt(lane func(*lap) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return lane(l)
}

// sample adds a figure to a row of the group.
func (l *lap) sample(id string, value float64) {
	for _, row := range l.group.rows {
		if row.ID == id {
			l.runner.report.Sample(row, l.Name, value)
			return
		}
	}
	panic("no row " + id)
}

// timed adds the milliseconds that do took to a row.
func (l *lap) timed(id string, do func() error) error {
	begin := time.Now()
	err := do()
	took := time.Since(begin)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	l.sample(id, milliseconds(took))
	return nil
}

// settledTimed is timed with nothing of before under way.
func (l *lap) settledTimed(id string, do func() error) error {
	if err := l.settle(); err != nil {
		return err
	}
	return l.timed(id, do)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// settle returns when nobody does anything in the background and all is on disk.
func (l *lap) settle() error {
	runtime.GC() // ours and the peers that run in this process share its heap
	var errs []error
	for _, c := range l.runner.stable.Opened() {
		errs = append(errs, c.Settle())
	}
	return errors.Join(errors.Join(errs...), l.freed(), l.synced())
}

// synced returns when all that was written is on disk.
func (l *lap) synced() error { return stable.Command("zpool", "sync", l.runner.Pool) }

// freed returns when ZFS gives no blocks back any more, which it does in the
// background.
func (l *lap) freed() error { return stable.Command("zpool", "wait", "-t", "free", l.runner.Pool) }

// container makes a container's two layers on an image, as dockerd does, and
// leaves them unmounted.
func (l *lap) container(image string) (id, init string, err error) {
	return newContainer(l.Contender, l.NewID(), image)
}

// newContainer makes the layers that dockerd makes for a container: one with
// the few files every container has, and the container's own.
func newContainer(c *stable.Contender, id, image string) (_, init string, err error) {
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
func (l *lap) removeAll(ids ...string) error {
	var errs []error
	for i := len(ids) - 1; i >= 0; i-- {
		errs = append(errs, l.Remove(ids[i]))
	}
	return errors.Join(errs...)
}
