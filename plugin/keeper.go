package plugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// keeper holds the one open Driver and hands it to calls. How it is opened
// stands in opening.go.
type keeper struct {
	open  Opener
	store store
	log   logrus.FieldLogger

	// turn is held by whoever opens or restarts a Driver. It is a channel
	// because a caller that hangs up must be able to stop waiting for it.
	turn chan struct{}
	// introduced is true once an Init came. It belongs to the turn.
	introduced bool
	// stale, when set, ends the process: see Server.Stale.
	stale func(error)

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
