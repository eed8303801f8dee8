package plugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// keeper holds the one open Driver and gives it to calls. opening.go opens it.
type keeper struct {
	open  Opener
	state stateFile
	log   logrus.FieldLogger

	// turn is the lock for opening and restarting a Driver. It is a channel, so that a
	// caller that hangs up stops waiting for it.
	turn chan struct{}
	// hadInit is true once an Init came. The turn protects it.
	hadInit bool
	// stale, when set, ends the process: see Server.Stale.
	stale func(error)

	mu       sync.Mutex
	current  *session
	params   *InitParams // the parameters of current, or of the next one to open
	failure  error       // why there is no current
	attempts uint64      // openings that ended: callers that waited share their outcome
}

func newKeeper(open Opener, state stateFile, log logrus.FieldLogger) *keeper {
	return &keeper{open: open, state: state, log: log, turn: make(chan struct{}, 1)}
}

// lock takes the turn, or fails when ctx ends first.
func (k *keeper) lock(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the driver is still being opened: %w", context.Cause(ctx))
	}
}

func (k *keeper) unlock() { <-k.turn }

// acquire returns the current session for one call, which must release it. Without a
// session it waits for the opening under way. When none was, it opens one itself.
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

// use returns the current session with one more user, and the number of openings that
// ended.
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

// close gives up the current session. Calls at work finish with it.
func (k *keeper) close() {
	k.mu.Lock()
	s := k.current
	k.current = nil
	k.mu.Unlock()
	if s != nil {
		s.release()
	}
}
