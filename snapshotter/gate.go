package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Backend is what a Gate opens.
type Backend interface {
	snapshots.Snapshotter
	snapshots.Cleaner
	// CheckHome is why what lies behind cannot be reached now, or nil.
	Present(ctx context.Context) error
}

// Gate is a Backend that is there before its store is: the socket has to answer
// when containerd starts, and a pool may take its time. Calls wait while the
// store is being opened. When that fails they say why, and the next one tries
// again.
type Gate struct {
	open    func(context.Context) (Backend, error)
	changed func(error) // told of each outcome
	log     *logrus.Logger

	// Observe is told of each call. It is set before the first one.
	Observe func(op string) (ended func(error))

	ctx  context.Context // of opening, which no single caller ends
	stop context.CancelFunc

	mu      sync.Mutex
	backend Backend
	attempt *attempt // under way
	closed  bool
}

// attempt is an opening that callers wait for.
type attempt struct {
	done    chan struct{}
	backend Backend
	err     error
}

// NewGate returns a Gate and begins to open what is behind it. changed is told
// of each outcome, one at a time.
func NewGate(open func(context.Context) (Backend, error), changed func(error), log *logrus.Logger) *Gate {
	g := &Gate{open: open, changed: changed, log: log, Observe: func(string) func(error) { return func(error) {} }}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin()
	return g
}

var errClosed = fmt.Errorf("the snapshotter ends: %w", errdefs.ErrUnavailable)

// enter returns what is behind the gate.
func (g *Gate) enter(ctx context.Context) (Backend, error) {
	g.mu.Lock()
	if g.closed || g.backend != nil {
		defer g.mu.Unlock()
		if g.closed {
			return nil, errClosed
		}
		return g.backend, nil
	}
	a := g.begin()
	g.mu.Unlock()
	select {
	case <-a.done:
		return a.backend, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the store is still being opened: %w", context.Cause(ctx))
	}
}

// begin begins an attempt unless one is under way. The lock is held.
func (g *Gate) begin() *attempt {
	if g.attempt == nil {
		g.attempt = &attempt{done: make(chan struct{})}
		go g.run(g.attempt)
	}
	return g.attempt
}

func (g *Gate) run(a *attempt) {
	a.backend, a.err = g.openGuarded()
	if a.err != nil {
		a.err = notOpen(a.err)
		g.log.WithError(a.err).Error("the next call tries again")
	}
	g.changed(a.err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempt, g.backend = nil, a.backend
	close(a.done)
}

// notOpen is why no call can be answered. Whatever class the reason has, to
// containerd it is that: "not found" it would take for a snapshot's, and act on.
func notOpen(err error) error {
	return &translated{"open the store: " + fault.Text(err), errdefs.ErrUnavailable, err}
}

// openGuarded makes a panic an error: no handler would catch it here.
func (g *Gate) openGuarded() (b Backend, err error) {
	defer func() {
		if v := recover(); v != nil {
			g.log.WithField("stack", string(debug.Stack())).Errorf("opening panicked: %v", v)
			b, err = nil, fmt.Errorf("opening panicked: %v; the log has the stack", v)
		}
	}()
	return g.open(g.ctx)
}

// CheckHome is the Backend's. Of a store that is not open it says nothing, and
// opens none.
func (g *Gate) Present(ctx context.Context) error {
	g.mu.Lock()
	b := g.backend
	g.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.Present(ctx)
}

// Hurry ends an attempt that is under way, and answers the calls that wait for it.
// A further one fails at once.
func (g *Gate) Hurry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.backend == nil {
		g.stop()
	}
}

// Close closes what is behind the gate, after an attempt under way. To close
// what is closed does nothing.
func (g *Gate) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	a := g.attempt
	g.mu.Unlock()
	g.stop()
	if a != nil {
		<-a.done
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.backend == nil {
		return nil
	}
	return g.backend.Close()
}

// through makes a call behind the gate, and has it observed.
func through[T any](ctx context.Context, g *Gate, op string, call func(Backend) (T, error)) (value T, err error) {
	ended := g.Observe(op)
	defer func() { ended(classified(err)) }()
	b, err := g.enter(ctx)
	if err != nil {
		return value, err
	}
	err = errPanicked // unless it comes back
	value, err = call(b)
	return value, err
}

var errPanicked = errors.New("it panicked")

// just makes a call behind the gate that returns nothing.
func (g *Gate) just(ctx context.Context, op string, call func(Backend) error) error {
	_, err := through(ctx, g, op, func(b Backend) (struct{}, error) { return struct{}{}, call(b) })
	return err
}

// The calls are snapshots.Snapshotter's and snapshots.Cleaner's.

// Stat is snapshots.Snapshotter's.
func (g *Gate) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	return through(ctx, g, "stat", func(b Backend) (snapshots.Info, error) { return b.Stat(ctx, key) })
}

// Update is snapshots.Snapshotter's.
func (g *Gate) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (snapshots.Info, error) {
	return through(ctx, g, "update", func(b Backend) (snapshots.Info, error) { return b.Update(ctx, info, fieldpaths...) })
}

// Usage is snapshots.Snapshotter's.
func (g *Gate) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	return through(ctx, g, "usage", func(b Backend) (snapshots.Usage, error) { return b.Usage(ctx, key) })
}

// Mounts is snapshots.Snapshotter's.
func (g *Gate) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	return through(ctx, g, "mounts", func(b Backend) ([]mount.Mount, error) { return b.Mounts(ctx, key) })
}

// Prepare is snapshots.Snapshotter's.
func (g *Gate) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return through(ctx, g, "prepare", func(b Backend) ([]mount.Mount, error) { return b.Prepare(ctx, key, parent, opts...) })
}

// View is snapshots.Snapshotter's.
func (g *Gate) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return through(ctx, g, "view", func(b Backend) ([]mount.Mount, error) { return b.View(ctx, key, parent, opts...) })
}

// Commit is snapshots.Snapshotter's.
func (g *Gate) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return g.just(ctx, "commit", func(b Backend) error { return b.Commit(ctx, name, key, opts...) })
}

// Remove is snapshots.Snapshotter's.
func (g *Gate) Remove(ctx context.Context, key string) error {
	return g.just(ctx, "remove", func(b Backend) error { return b.Remove(ctx, key) })
}

// Walk is snapshots.Snapshotter's.
func (g *Gate) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return g.just(ctx, "list", func(b Backend) error { return b.Walk(ctx, fn, filters...) })
}

// Cleanup is snapshots.Cleaner's.
func (g *Gate) Cleanup(ctx context.Context) error {
	return g.just(ctx, "cleanup", func(b Backend) error { return b.Cleanup(ctx) })
}

// Opener opens the store that o describes.
func Opener(o Options, log *logrus.Logger) func(context.Context) (Backend, error) {
	return func(ctx context.Context) (Backend, error) {
		s, err := Open(ctx, o, log)
		if err != nil {
			return nil, errors.Join(err) // and not a Backend that holds a nil Snapshotter
		}
		return s, nil
	}
}
