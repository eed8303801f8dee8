package snapshotter

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/lateopen"
	"github.com/overlayzfs/overlayzfs/snapshotter/limitcall"
)

// Backend is the snapshotter that a Gate opens.
type Backend interface {
	snapshots.Snapshotter
	snapshots.Cleaner
	limitcall.Limiter
	// CheckHome returns an error when the store cannot be reached now.
	CheckHome(ctx context.Context) error
}

// Gate is a Backend that exists before its store is open, because the socket has to answer
// when containerd starts, and a pool may take its time. Calls wait while the store is being
// opened. When the opening fails, they return its error, and the next call opens it again.
type Gate struct {
	backend *lateopen.Value[Backend]
	open    lateopen.Opener[Backend]

	// Observe is called when a call begins. The function it returns is called with the
	// call's outcome. It is set before the first call.
	Observe func(op string) (ended func(error))
}

// NewGate returns a Gate and begins to open its Backend. changed is told of each outcome,
// one at a time.
func NewGate(open func(context.Context) (Backend, error), changed func(error), log *logrus.Logger) *Gate {
	ended := func(err error) error {
		if err != nil {
			err = wrapNotOpen(err)
			log.WithError(err).Error("the next call tries again")
		}
		changed(err)
		return err
	}
	g := &Gate{
		backend: lateopen.New(lateopen.Options[Backend]{Subject: "the store", Log: log, Detached: true, Ended: ended}),
		open:    open,
		Observe: func(string) func(error) { return func(error) {} },
	}
	g.backend.Start(open)
	return g
}

var errClosed = fmt.Errorf("the snapshotter is stopping: %w", errdefs.ErrUnavailable)

// waitOpen returns the Backend. It waits for the opening under way, or begins one.
func (g *Gate) waitOpen(ctx context.Context) (Backend, error) {
	b, err := g.backend.Acquire(ctx, g.open)
	if errors.Is(err, lateopen.ErrClosed) {
		return nil, errClosed
	}
	return b, err
}

// wrapNotOpen makes a failed opening "unavailable" to containerd, whatever its class:
// containerd would take "not found" for a missing snapshot, and act on it.
func wrapNotOpen(err error) error {
	return &translated{"open the store: " + fault.Text(err), errdefs.ErrUnavailable, err}
}

// CheckHome asks the Backend. It returns nil for a store that is not open, and does not
// open it.
func (g *Gate) CheckHome(ctx context.Context) error {
	b, isOpen := g.backend.Get()
	if !isOpen {
		return nil
	}
	return b.CheckHome(ctx)
}

// CancelOpen cancels an opening under way, and fails the calls that wait for it. Further
// openings fail at once.
func (g *Gate) CancelOpen() { g.backend.CancelOpen() }

// Close closes the Backend, after waiting for an opening under way. Closing twice does
// nothing.
func (g *Gate) Close() error {
	b, isOpen := g.backend.Close()
	if !isOpen {
		return nil
	}
	return b.Close()
}

// call runs a call on the Backend once it is open, and reports it to Observe.
func call[T any](ctx context.Context, g *Gate, op string, run func(Backend) (T, error)) (value T, err error) {
	ended := g.Observe(op)
	defer func() { ended(addCoreClass(err)) }()
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

// SetLimits is Snapshotter.SetLimits.
func (g *Gate) SetLimits(ctx context.Context, name string, options map[string]string) (string, error) {
	return call(ctx, g, "limit", func(b Backend) (string, error) { return b.SetLimits(ctx, name, options) })
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
