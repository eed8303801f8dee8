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

// Backend is the snapshotter that a Gate opens.
type Backend interface {
	snapshots.Snapshotter
	snapshots.Cleaner
	// CheckHome returns an error when the store cannot be reached now.
	CheckHome(ctx context.Context) error
}

// Gate is a Backend that exists before its store is open, because the socket has to answer
// when containerd starts, and a pool may take its time. Calls wait while the store is being
// opened. When the opening fails, they return its error, and the next call opens it again.
type Gate struct {
	open    func(context.Context) (Backend, error)
	changed func(error) // is told of each outcome
	log     *logrus.Logger

	// Observe is called when a call begins. The function it returns is called with the
	// call's outcome. It is set before the first call.
	Observe func(op string) (ended func(error))

	ctx  context.Context // of openings: a caller that goes away does not end one
	stop context.CancelFunc

	mu      sync.Mutex
	backend Backend
	attempt *attempt // under way
	closed  bool
}

// attempt is an opening under way. Its callers share the outcome.
type attempt struct {
	done    chan struct{}
	backend Backend
	err     error
}

// NewGate returns a Gate and begins to open its Backend. changed is told of each outcome,
// one at a time.
func NewGate(open func(context.Context) (Backend, error), changed func(error), log *logrus.Logger) *Gate {
	g := &Gate{open: open, changed: changed, log: log, Observe: func(string) func(error) { return func(error) {} }}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.startAttempt()
	return g
}

var errClosed = fmt.Errorf("the snapshotter is stopping: %w", errdefs.ErrUnavailable)

// waitOpen returns the Backend. It waits for the opening under way, or begins one.
func (g *Gate) waitOpen(ctx context.Context) (Backend, error) {
	g.mu.Lock()
	if g.closed || g.backend != nil {
		defer g.mu.Unlock()
		if g.closed {
			return nil, errClosed
		}
		return g.backend, nil
	}
	a := g.startAttempt()
	g.mu.Unlock()
	select {
	case <-a.done:
		return a.backend, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the store is still being opened: %w", context.Cause(ctx))
	}
}

// startAttempt begins an attempt unless one is under way, and returns it. The caller holds
// mu.
func (g *Gate) startAttempt() *attempt {
	if g.attempt == nil {
		g.attempt = &attempt{done: make(chan struct{})}
		go g.run(g.attempt)
	}
	return g.attempt
}

func (g *Gate) run(a *attempt) {
	a.backend, a.err = g.openRecovering()
	if a.err != nil {
		a.err = wrapNotOpen(a.err)
		g.log.WithError(a.err).Error("the next call tries again")
	}
	g.changed(a.err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempt, g.backend = nil, a.backend
	close(a.done)
}

// wrapNotOpen makes a failed opening "unavailable" to containerd, whatever its class:
// containerd would take "not found" for a missing snapshot, and act on it.
func wrapNotOpen(err error) error {
	return &translated{"open the store: " + fault.Text(err), errdefs.ErrUnavailable, err}
}

// openRecovering opens the Backend and turns a panic into an error: nothing else would
// catch one here.
func (g *Gate) openRecovering() (b Backend, err error) {
	defer func() {
		if v := recover(); v != nil {
			g.log.WithField("stack", string(debug.Stack())).Errorf("opening panicked: %v", v)
			b, err = nil, fmt.Errorf("opening panicked: %v; the log has the stack", v)
		}
	}()
	return g.open(g.ctx)
}

// CheckHome asks the Backend. It returns nil for a store that is not open, and does not
// open it.
func (g *Gate) CheckHome(ctx context.Context) error {
	g.mu.Lock()
	b := g.backend
	g.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.CheckHome(ctx)
}

// CancelOpen cancels an opening under way, and fails the calls that wait for it. Further
// openings fail at once.
func (g *Gate) CancelOpen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.backend == nil {
		g.stop()
	}
}

// Close closes the Backend, after waiting for an opening under way. Closing twice does
// nothing.
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

// call runs a call on the Backend once it is open, and reports it to Observe.
func call[T any](ctx context.Context, g *Gate, op string, run func(Backend) (T, error)) (value T, err error) {
	ended := g.Observe(op)
	defer func() { ended(withCoreClass(err)) }()
	b, err := g.waitOpen(ctx)
	if err != nil {
		return value, err
	}
	err = errPanicked // stays unless run returns
	value, err = run(b)
	return value, err
}

var errPanicked = errors.New("the call panicked")

// callVoid is call for a call without a result.
func (g *Gate) callVoid(ctx context.Context, op string, run func(Backend) error) error {
	_, err := call(ctx, g, op, func(b Backend) (struct{}, error) { return struct{}{}, run(b) })
	return err
}

// The calls are snapshots.Snapshotter's and snapshots.Cleaner's.

// Stat is snapshots.Snapshotter's.
func (g *Gate) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	return call(ctx, g, "stat", func(b Backend) (snapshots.Info, error) { return b.Stat(ctx, key) })
}

// Update is snapshots.Snapshotter's.
func (g *Gate) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (snapshots.Info, error) {
	return call(ctx, g, "update", func(b Backend) (snapshots.Info, error) { return b.Update(ctx, info, fieldpaths...) })
}

// Usage is snapshots.Snapshotter's.
func (g *Gate) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	return call(ctx, g, "usage", func(b Backend) (snapshots.Usage, error) { return b.Usage(ctx, key) })
}

// Mounts is snapshots.Snapshotter's.
func (g *Gate) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	return call(ctx, g, "mounts", func(b Backend) ([]mount.Mount, error) { return b.Mounts(ctx, key) })
}

// Prepare is snapshots.Snapshotter's.
func (g *Gate) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return call(ctx, g, "prepare", func(b Backend) ([]mount.Mount, error) { return b.Prepare(ctx, key, parent, opts...) })
}

// View is snapshots.Snapshotter's.
func (g *Gate) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return call(ctx, g, "view", func(b Backend) ([]mount.Mount, error) { return b.View(ctx, key, parent, opts...) })
}

// Commit is snapshots.Snapshotter's.
func (g *Gate) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return g.callVoid(ctx, "commit", func(b Backend) error { return b.Commit(ctx, name, key, opts...) })
}

// Remove is snapshots.Snapshotter's.
func (g *Gate) Remove(ctx context.Context, key string) error {
	return g.callVoid(ctx, "remove", func(b Backend) error { return b.Remove(ctx, key) })
}

// Walk is snapshots.Snapshotter's.
func (g *Gate) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return g.callVoid(ctx, "list", func(b Backend) error { return b.Walk(ctx, fn, filters...) })
}

// Cleanup is snapshots.Cleaner's.
func (g *Gate) Cleanup(ctx context.Context) error {
	return g.callVoid(ctx, "cleanup", func(b Backend) error { return b.Cleanup(ctx) })
}

// Opener returns a function that opens the store that o describes.
func Opener(o Options, log *logrus.Logger) func(context.Context) (Backend, error) {
	return func(ctx context.Context) (Backend, error) {
		s, err := Open(ctx, o, log)
		if err != nil {
			return nil, errors.Join(err) // and not a Backend that holds a nil Snapshotter
		}
		return s, nil
	}
}
