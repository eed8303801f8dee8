package overlayzfs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int32
		g := txgWaiter{sync: func(context.Context) error {
			syncs.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		var wait sync.WaitGroup
		ask := func() {
			wait.Go(func() {
				if err := g.wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		ask()
		synctest.Wait() // the first is under way
		for range 20 {
			ask()
		}
		wait.Wait()
		if n := syncs.Load(); n != 2 {
			t.Errorf("%d waits for 21 callers, want one and one shared by the others", n)
		}
	})
}

func TestALateCallerWaitsForTheNextTxg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		g := txgWaiter{sync: func(context.Context) error { time.Sleep(time.Second); return nil }}
		go func() { _ = g.wait(t.Context()) }()
		time.Sleep(time.Second / 2)
		if err := g.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 2*time.Second {
			t.Errorf("answered after %v: the wait that began before it asked says nothing of what it wrote", waited)
		}
	})
}

func TestAFailedWaitFailsItsCallersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("the pool is gone")
		answers := []error{lost, nil}
		g := txgWaiter{sync: func(context.Context) error {
			err := answers[0]
			answers = answers[1:]
			return err
		}}
		if err := g.wait(t.Context()); !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
		if err := g.wait(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestAWaitCanBeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := txgWaiter{sync: func(context.Context) error { time.Sleep(time.Hour); return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Hour) // it ends by itself
	})
}
