package ctxlock

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestOneHolderAtATime(t *testing.T) {
	var locks Keys
	var all sync.WaitGroup
	count, holders := 0, 0
	for range 50 {
		all.Go(func() {
			release, err := locks.Lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			if holders++; holders != 1 {
				t.Errorf("%d holders", holders)
			}
			count++
			holders--
			release()
		})
	}
	all.Wait()
	if count != 50 || len(locks.keys) != 0 {
		t.Errorf("%d calls, %d keys are left", count, len(locks.keys))
	}
}

func TestKeysDoNotWaitForEachOther(t *testing.T) {
	var locks Keys
	for _, key := range []string{"a", "b"} {
		release, err := locks.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
}

// TestSharedAndExclusive: holders share the lock, an exclusive one is alone, and a caller that
// waits behind it can go away.
func TestSharedAndExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rw := NewRW()
		var holders []func()
		for range 2 {
			release, err := rw.RLock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			holders = append(holders, release)
		}
		alone := make(chan func())
		go func() {
			release, err := rw.Lock(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Error(err)
			}
			alone <- release
		}()
		synctest.Wait()
		hungUp := errors.New("the caller hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := rw.RLock(ctx)
			failed <- err
		}()
		synctest.Wait()
		cancel(hungUp)
		if err := <-failed; !errors.Is(err, hungUp) {
			t.Errorf("the waiter got %v", err)
		}
		for _, release := range holders {
			release()
		}
		(<-alone)()
		release, err := rw.RLock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

// TestAWaiterThatGoesAwayStopsWaiting: it gets the reason, and later waiters get the lock.
func TestAWaiterThatGoesAwayStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks Keys
		release, err := locks.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		hungUp := errors.New("the caller hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := locks.Lock(ctx, "a")
			failed <- err
		}()
		synctest.Wait()
		cancel(hungUp)
		if err := <-failed; !errors.Is(err, hungUp) {
			t.Errorf("the waiter got %v", err)
		}
		release()
		again, err := locks.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		again()
		if len(locks.keys) != 0 {
			t.Errorf("%d keys are left", len(locks.keys))
		}
	})
}
