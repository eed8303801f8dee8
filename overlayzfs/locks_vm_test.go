//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestACallerThatHangsUpStopsWaiting: its call must not queue behind one that takes an hour. A
// Put is done all the same, because nobody would repeat it.
func TestACallerThatHangsUpStopsWaiting(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	must(t, d.Create(t.Context(), "top", "base", CreateOptions{ReadWrite: true}))
	dir := get(t, d, "top")
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	for name, lock := range map[string]func() (func(), error){
		"layer": func() (func(), error) { return d.layers.Lock(t.Context(), "top") },
		"store": func() (func(), error) { return d.storeLock.Lock(t.Context()) },
	} {
		release, err := lock()
		must(t, err)
		if _, err := d.Get(gone, "top", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("Get behind the lock of the %s: %v", name, err)
		}
		if err := d.Remove(gone, "top"); !errors.Is(err, context.Canceled) {
			t.Errorf("Remove behind the lock of the %s: %v", name, err)
		}
		release()
	}
	must(t, d.Put(gone, "top"))
	requireMounted(t, dir, false)
}

// countingContext calls reached before the n-th wait on it.
type countingContext struct {
	context.Context
	mu      sync.Mutex
	n       int
	reached func()
}

func (c *countingContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		c.reached()
	}
	return c.Context.Done()
}

// TestOppositeRebases: a Rebase that waits for one layer does not hold the other. A layer
// never comes to lie below itself.
func TestOppositeRebases(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	mine(t, d, "2", "", nil)
	release, err := d.layers.Lock(t.Context(), "1")
	must(t, err)
	waits, done := make(chan struct{}), make(chan error)
	go func() {
		// It waits for the store's lock, and then for a layer's.
		ctx := &countingContext{Context: context.WithoutCancel(t.Context()), n: 2, reached: func() { close(waits) }}
		done <- d.Rebase(ctx, "2", "1")
	}()
	<-waits
	releaseOther, err := d.layers.Lock(t.Context(), "2") // hangs if the call holds it
	must(t, err)
	release()
	releaseOther()
	must(t, <-done)
	if err := d.Rebase(t.Context(), "1", "2"); !errors.Is(err, fault.Invalid) {
		t.Errorf("the opposite: %v", err)
	}
	must(t, d.Rebase(t.Context(), "2", "1"))
}
