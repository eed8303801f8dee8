package lateopen

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/sirupsen/logrus"
)

// Opener opens a value.
type Opener[T any] func(context.Context) (T, error)

// Options of a Value.
type Options[T any] struct {
	Subject string // names the value in errors: "the driver"
	Log     logrus.FieldLogger
	// Detached lets attempts run in a context of the Value instead of their caller's.
	Detached bool
	// Taken, if set, is called with each value that Acquire returns, before another call
	// can drop it.
	Taken func(T)
	// Ended, if set, is told of each attempt's outcome, one at a time and before callers
	// are. It returns the error that callers get.
	Ended func(error) error
}

// Value is a value that is opened late and shared.
type Value[T any] struct {
	options Options[T]

	// turn is the lock of attempts, and of other changes to the value. It is a channel, so
	// that a caller that goes away stops waiting for it.
	turn chan struct{}
	own  context.Context // of attempts; nil: their caller's
	stop context.CancelFunc

	mu sync.Mutex
	state[T]
}

// state is what callers see of a Value.
type state[T any] struct {
	value    T
	isOpen   bool
	isClosed bool
	failure  error  // why the value is not open
	attempts uint64 // attempts that ended: callers that waited share their outcome
}

// ErrClosed is returned by Acquire after Close.
var ErrClosed = errors.New("closed")

// New returns a Value that is not open.
func New[T any](o Options[T]) *Value[T] {
	v := &Value[T]{options: o, turn: make(chan struct{}, 1), stop: func() {}}
	if o.Detached {
		v.own, v.stop = context.WithCancel(context.Background())
	}
	return v
}

// Lock waits until no attempt runs, and keeps others from beginning until Unlock. It fails
// when ctx ends first.
func (v *Value[T]) Lock(ctx context.Context) error {
	select {
	case v.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return v.stillOpening(ctx)
	}
}

// Unlock ends Lock.
func (v *Value[T]) Unlock() { <-v.turn }

func (v *Value[T]) stillOpening(ctx context.Context) error {
	return fmt.Errorf("%s is still being opened: %w", v.options.Subject, context.Cause(ctx))
}

// Get returns the value if it is open. It opens nothing, and does not call Taken.
func (v *Value[T]) Get() (value T, isOpen bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.value, v.isOpen
}

// Failure returns why the value is not open, or nil if no attempt said so.
func (v *Value[T]) Failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failure
}

// Acquire returns the value. Without one it waits for the attempt under way and shares its
// outcome. When none was, it opens the value itself.
func (v *Value[T]) Acquire(ctx context.Context, open Opener[T]) (T, error) {
	var none T
	before := v.take()
	switch {
	case before.isClosed:
		return none, ErrClosed
	case before.isOpen:
		return before.value, nil
	}
	if err := v.Lock(ctx); err != nil {
		return none, err
	}
	now := v.take()
	switch {
	case now.isOpen:
		v.Unlock()
		return now.value, nil
	case now.attempts != before.attempts:
		v.Unlock()
		return none, now.failure
	case now.isClosed:
		v.Unlock()
		return none, ErrClosed
	}
	return v.begin(ctx, open, true).wait(ctx, v)
}

// take returns the state, with an open value taken.
func (v *Value[T]) take() state[T] {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.isOpen && v.options.Taken != nil {
		v.options.Taken(v.value)
	}
	return v.state
}

// Start begins an attempt in the background. The Value is detached and new: once Start has
// returned, callers wait for the outcome.
func (v *Value[T]) Start(open Opener[T]) {
	v.turn <- struct{}{}
	v.begin(v.own, open, false)
}

// attempt is an attempt that a caller began.
type attempt[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// begin begins an attempt, or runs it if the Value is not detached. The caller holds the
// lock; begin gives it back when the attempt has ended.
func (v *Value[T]) begin(ctx context.Context, open Opener[T], take bool) *attempt[T] {
	a := &attempt[T]{done: make(chan struct{})}
	run := func(ctx context.Context) {
		defer close(a.done)
		defer v.Unlock()
		a.value, a.err = v.run(ctx, open, take)
	}
	if v.own == nil {
		run(ctx)
	} else {
		go run(v.own)
	}
	return a
}

// wait returns the outcome, or an error when ctx ends before the attempt.
func (a *attempt[T]) wait(ctx context.Context, v *Value[T]) (value T, err error) {
	select {
	case <-a.done: // first: an outcome counts more than the end of ctx
		return a.value, a.err
	default:
	}
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		return value, v.stillOpening(ctx)
	}
}

// Open opens the value in ctx and keeps it. The caller holds the lock, and has dropped the
// value before.
func (v *Value[T]) Open(ctx context.Context, open Opener[T]) error {
	_, err := v.run(ctx, open, false)
	return err
}

func (v *Value[T]) run(ctx context.Context, open Opener[T], take bool) (T, error) {
	value, err := v.openRecovering(ctx, open)
	if v.options.Ended != nil {
		err = v.options.Ended(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err == nil:
		v.value, v.isOpen, v.failure = value, true, nil
		if take && v.options.Taken != nil {
			v.options.Taken(value)
		}
	case v.own == nil && ctx.Err() != nil:
		return value, err // the caller went away: no outcome for others
	default:
		v.failure = err
	}
	v.attempts++
	return value, err
}

// openRecovering calls open and turns its panic into an error: an attempt also runs outside
// of calls, where nothing else would catch one.
func (v *Value[T]) openRecovering(ctx context.Context, open Opener[T]) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none T
			v.options.Log.WithField("stack", string(debug.Stack())).Errorf("opening %s panicked: %v", v.options.Subject, p)
			value, err = none, fmt.Errorf("opening %s panicked: %v; overlayzfs's log has the stack", v.options.Subject, p)
		}
	}()
	return open(ctx)
}

// Drop gives the value up, for the reason why, and returns it if it was open.
func (v *Value[T]) Drop(why error) (value T, wasOpen bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.isOpen {
		return value, false
	}
	var none T
	value, v.value = v.value, none
	v.isOpen, v.failure = false, why
	return value, true
}

// CancelOpen ends the context of attempts, unless the value is open. The Value is detached.
func (v *Value[T]) CancelOpen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.isOpen {
		v.stop()
	}
}

// Close refuses further calls of Acquire, cancels the attempt under way and waits for its
// end. It returns the value for the caller to close, the first time. Get still shows it.
func (v *Value[T]) Close() (value T, isOpen bool) {
	v.mu.Lock()
	again := v.isClosed
	v.isClosed = true
	v.mu.Unlock()
	if again {
		return value, false
	}
	v.stop()
	v.turn <- struct{}{}
	defer v.Unlock()
	return v.Get()
}
