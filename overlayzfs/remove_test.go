package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reaped records what a reaper discards.
type reaped struct {
	mu   sync.Mutex
	dirs []string
	gate chan struct{} // each discard takes one, if there is a gate
}

func (r *reaped) discard(ctx context.Context, dir string) {
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirs = append(r.dirs, dir)
}

func TestReaperTakesAllInOrder(t *testing.T) {
	var seen reaped
	r := newReaper(seen.discard, &callCount{})
	for round := range 2 { // idle in between
		for n := range 3 {
			r.enqueue(fmt.Sprint(round, n))
			r.enqueue("")
		}
		if err := r.waitIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"0 0", "0 1", "0 2", "1 0", "1 1", "1 2"}; !slices.Equal(seen.dirs, want) {
		t.Errorf("discarded %q, want %q", seen.dirs, want)
	}
}

func TestReaperPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := reaped{gate: make(chan struct{})}
		r := newReaper(seen.discard, &callCount{})
		for range maxBacklog {
			r.enqueue("x")
		}
		r.waitBacklog(t.Context()) // does not wait yet
		r.enqueue("one too many")
		paced := make(chan struct{})
		go func() { defer close(paced); r.waitBacklog(t.Context()) }()
		synctest.Wait()
		select {
		case <-paced:
			t.Error("nobody waits for the backlog")
		default:
		}
		seen.gate <- struct{}{}
		<-paced
		if err := r.close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(seen.dirs) != 2 {
			t.Errorf("%d discarded, want 2: the one that was let through, and the one that the end met", len(seen.dirs))
		}
	})
}

func TestReaperIsNotWaitedForEndlessly(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	r := newReaper(func(context.Context, string) { <-held }, &callCount{})
	r.enqueue("in a pool that hangs")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
}

// TestReaperWaitsForTheEndOfCalls makes sure that removed layers wait for running calls, though
// not for ever, and not while somebody waits for them.
func TestReaperWaitsForTheEndOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls callCount
		var seen reaped
		r := newReaper(seen.discard, &calls)
		requireDiscarded := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			seen.mu.Lock()
			defer seen.mu.Unlock()
			if len(seen.dirs) != want {
				t.Errorf("%s: %d discarded, want %d", when, len(seen.dirs), want)
			}
		}
		calls.begin()
		r.enqueue("a")
		time.Sleep(reaperPatience / 2)
		requireDiscarded("while a call runs", 0)
		calls.end()
		time.Sleep(reaperIdle / 2)
		requireDiscarded("when a call has just ended", 0)
		time.Sleep(reaperIdle)
		requireDiscarded("after the call", 1)

		calls.begin()
		r.enqueue("b")
		time.Sleep(reaperPatience)
		requireDiscarded("while a call takes long", 2)
		r.enqueue("c")
		r.enqueue("d")
		if err := r.waitIdle(t.Context()); err != nil {
			t.Error(err)
		}
		requireDiscarded("when somebody waited for it", 4)
		for range patientBacklog + 1 {
			r.enqueue("e")
		}
		requireDiscarded("while many wait", 5)
		calls.end()
		if err := r.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
