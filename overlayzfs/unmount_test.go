package overlayzfs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// slowEnd is a file system that ends when it is told to.
type slowEnd chan struct{}

func (s slowEnd) Close() error {
	<-s
	return errors.New("it ends all the same")
}

// TestEndingsAreWaitedFor: a layer waits for its own mount, whatever other layers do, and a
// caller that hangs up does not.
func TestEndingsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endings
		removed, again, other := make(slowEnd), make(slowEnd), make(slowEnd)
		e.begin("x", removed)
		e.begin("x", again) // of a new layer of that name
		e.begin("y", other)
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		if err := e.wait(gone, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that hung up: %v", err)
		}
		if err := e.wait(t.Context(), "z"); err != nil {
			t.Errorf("a layer without an earlier mount: %v", err)
		}
		var waited, waitedForAll bool
		go func() { waited = e.wait(t.Context(), "x") == nil }()
		go func() { waitedForAll = e.waitAll(t.Context()) == nil }()
		for _, step := range []struct {
			end         slowEnd
			waited, all bool
		}{{again, false, false}, {removed, true, false}, {other, true, true}} {
			close(step.end)
			synctest.Wait()
			if waited != step.waited || waitedForAll != step.all {
				t.Errorf("the waits have ended: %v and %v, want %v and %v", waited, waitedForAll, step.waited, step.all)
			}
		}
		if len(e.ended) != 0 {
			t.Errorf("%d endings are remembered", len(e.ended))
		}
	})
}
