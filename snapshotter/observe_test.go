package snapshotter

import (
	"context"
	"errors"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// observing is a gate before a backend, and how the calls through it ended.
func observing(t *testing.T, b func(context.Context) (Backend, error)) (*Gate, map[string]error) {
	t.Helper()
	g := NewGate(b, func(error) {}, quiet())
	ended := map[string]error{}
	g.Observe = func(op string) func(error) { return func(err error) { ended[op] = err } }
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, ended
}

// TestCallsAreObserved: with the core's classes, also where the error is the
// records'.
func TestCallsAreObserved(t *testing.T) {
	g, ended := observing(t, func(ctx context.Context) (Backend, error) {
		return open(ctx, newFakeStore(), t.TempDir(), Options{}, quiet())
	})
	if _, err := g.Prepare(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Stat(t.Context(), "b"); err == nil {
		t.Error("a snapshot that nobody made")
	}
	if _, err := g.View(t.Context(), "a", ""); err == nil {
		t.Error("two snapshots of one name")
	}
	if err, ok := ended["prepare"]; !ok || err != nil {
		t.Errorf("prepare ended with %v, %v", err, ok)
	}
	if !errors.Is(ended["stat"], fault.NotFound) || !errors.Is(ended["view"], fault.Exists) {
		t.Errorf("ended with %v", ended)
	}
}

// TestAPanicIsObserved: it is an error before anybody made it one.
func TestAPanicIsObserved(t *testing.T) {
	g, ended := observing(t, func(context.Context) (Backend, error) { return panicky{}, nil })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_, _ = g.Stat(t.Context(), "a")
	}()
	if !errors.Is(ended["stat"], errPanicked) {
		t.Errorf("ended with %v", ended)
	}
}
