package guest

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// load is what runs until the power is cut.
type load struct {
	*store
	*wire.Plan
	line  *wire.Line
	nodes nodes
	// unlimited is set when the driver knows no limits.
	unlimited atomic.Bool
}

// run never returns but with an error of the line.
func (l *load) run(ctx context.Context) error {
	errs := make(chan error, l.Workers)
	var workers sync.WaitGroup
	for n := range l.Workers {
		workers.Go(func() {
			w := &worker{load: l, Rand: layers.Random(l.Seed + uint64(l.Round)<<16 + uint64(n)<<8)}
			errs <- w.run(ctx)
		})
	}
	workers.Wait()
	return <-errs
}

// worker does one thing after the other.
type worker struct {
	*load
	*rand.Rand
}

func (w *worker) run(ctx context.Context) error {
	for {
		if err := w.next()(ctx); err != nil {
			return err
		}
	}
}

// next draws what to do. A call that the driver refuses is said to the host
// and no error here.
func (w *worker) next() func(context.Context) error {
	count := w.nodes.count()
	p := w.IntN(100)
	switch {
	case count > w.Most && p < 70:
		return w.remove
	case count < 4 || p < 30:
		return w.image
	case p < 55:
		return w.step
	case p < 80:
		return w.container
	case p < 88 && w.snapshots != nil:
		return w.view
	}
	return w.remove
}

// call tells the host, makes a call, and tells the host how it was answered.
// ok says whether it was.
func (w *worker) call(e wire.Event, do func() error) (ok bool, err error) {
	e.Verb = wire.Begin
	if _, err := w.line.Say(e); err != nil {
		return false, err
	}
	e.Verb = wire.Done
	if refused := do(); refused != nil {
		e.Verb, e.Text = wire.Failed, refused.Error()
	}
	_, err = w.line.Say(e)
	return e.Verb == wire.Done, err
}

// name draws a layer's ID as the engine does.
func (w *worker) name(kind wire.Kind) string {
	digits, length := "0123456789abcdef", 64
	if kind == wire.Step {
		digits, length = "0123456789abcdefghijklmnopqrstuvwxyz", 25
	}
	var b strings.Builder
	for range length {
		b.WriteByte(digits[w.IntN(len(digits))])
	}
	return b.String()
}
