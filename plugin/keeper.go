package plugin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// keeper holds the one open Driver: it opens it on Init or from the stored
// parameters, hands it to calls, and closes it when the last of them is done.
type keeper struct {
	open  Opener
	store store
	log   logrus.FieldLogger

	// turn is held by whoever opens or restarts a Driver. It is a channel
	// because a caller that hangs up must be able to stop waiting for it.
	turn chan struct{}

	mu       sync.Mutex
	current  *session
	params   *InitParams // what current was opened with, or is to be opened with
	failure  error       // why there is no current
	attempts uint64      // openings that ended, so that waiters share one's outcome
}

func newKeeper(open Opener, store store, log logrus.FieldLogger) *keeper {
	return &keeper{open: open, store: store, log: log, turn: make(chan struct{}, 1)}
}

// lock takes the turn, or gives up with ctx.
func (k *keeper) lock(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the driver is still being opened: %w", context.Cause(ctx))
	}
}

func (k *keeper) unlock() { <-k.turn }

// init makes the Driver for p the current one.
func (k *keeper) init(ctx context.Context, p InitParams) error {
	if err := k.lock(ctx); err != nil {
		return err
	}
	defer k.unlock()
	if d := k.opened(p); d != nil {
		return errors.Join(d.Restart(ctx), k.store.save(p))
	}
	d, err := k.openGuarded(ctx, p)
	if err == nil {
		if err = k.store.save(p); err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		k.failed(ctx, err)
		return err
	}
	k.replace(d, p)
	return nil
}

// opened returns the current Driver if p is what it was opened with.
func (k *keeper) opened(p InitParams) Driver {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || !k.params.equal(p) {
		return nil
	}
	return k.current.driver
}

// restore opens the Driver from the stored parameters, if there are any. The
// caller holds the turn.
func (k *keeper) restore(ctx context.Context) {
	p, err := k.store.load()
	if err != nil {
		k.log.WithError(err).Error("the stored parameters are of no use: waiting for the engine's Init")
		k.failed(ctx, err)
		return
	}
	if p == nil {
		k.log.Debug("no stored parameters: waiting for the engine's Init")
		return
	}
	k.mu.Lock()
	k.params = p
	k.mu.Unlock()
	if err := k.reopen(ctx, *p); err != nil {
		k.log.WithError(err).WithField("home", p.Home).Error("cannot open the driver again; the next call retries")
	}
}

// reopen opens the Driver for parameters that are stored already. The caller
// holds the turn.
func (k *keeper) reopen(ctx context.Context, p InitParams) error {
	d, err := k.openGuarded(ctx, p)
	if err != nil {
		k.failed(ctx, err)
		return err
	}
	k.replace(d, p)
	return nil
}

// openGuarded makes an Opener's panic an error: it also runs where no handler
// would catch one.
func (k *keeper) openGuarded(ctx context.Context, p InitParams) (d Driver, err error) {
	defer func() {
		if v := recover(); v != nil {
			k.log.WithField("stack", string(debug.Stack())).Errorf("opening the driver panicked: %v", v)
			d, err = nil, fmt.Errorf("opening the driver panicked: %v; the plugin's log has the stack", v)
		}
	}()
	return k.open(ctx, p)
}

// failed keeps why there is no Driver. An opening that ended because its caller
// went away says nothing to the others.
func (k *keeper) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	k.attempts++
}

// replace makes d current; what was current closes when its last call is done.
func (k *keeper) replace(d Driver, p InitParams) {
	k.mu.Lock()
	old := k.current
	k.current = &session{driver: d, log: k.log, users: 1}
	k.params, k.failure = &p, nil
	k.attempts++
	k.mu.Unlock()
	if old != nil {
		old.release()
	}
}

// acquire returns the current session for one call, which must release it.
// Without one it waits for the opening under way, then tries once itself.
func (k *keeper) acquire(ctx context.Context) (*session, error) {
	s, seen := k.use()
	if s != nil {
		return s, nil
	}
	if err := k.lock(ctx); err != nil {
		return nil, err
	}
	defer k.unlock()
	s, now := k.use()
	if s != nil {
		return s, nil
	}
	p, failure := k.outcome()
	switch {
	case p == nil && failure != nil:
		return nil, fmt.Errorf("not initialised: %w", failure)
	case p == nil:
		return nil, fault.New(fault.Invalid, "not initialised: the engine has not sent Init")
	case now != seen:
		return nil, fmt.Errorf("the driver is not open: %w", failure)
	}
	if err := k.reopen(ctx, *p); err != nil {
		return nil, fmt.Errorf("the driver is not open: %w", err)
	}
	s, _ = k.use()
	return s, nil
}

// use returns the current session, counted in, and how many openings ended.
func (k *keeper) use() (*session, uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != nil {
		k.current.add()
	}
	return k.current, k.attempts
}

func (k *keeper) outcome() (*InitParams, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.params, k.failure
}

// close ends the use of the Driver; calls still at work finish with it.
func (k *keeper) close() {
	k.mu.Lock()
	s := k.current
	k.current = nil
	k.mu.Unlock()
	if s != nil {
		s.release()
	}
}
