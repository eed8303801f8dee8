package plugin

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// observed keeps how calls ended, by operation.
type observed struct {
	mu    sync.Mutex
	ended map[string][]error
}

func (o *observed) call(op string) func(error) {
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ended[op] = append(o.ended[op], err)
	}
}

// TestCallsAreObserved: each call ends once, with the error that it had, also one
// that panics or breaks off half-way through a stream.
func TestCallsAreObserved(t *testing.T) {
	d := newFake()
	seen := observed{ended: map[string][]error{}}
	r := serve(t, always(d), "", func(s *Server) { s.Observe = seen.call })
	if err := r.Init(t.Context(), InitParams{Home: "/home"}); err != nil {
		t.Fatal(err)
	}
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	d.err = fault.New(fault.NoSpace, "full")
	wantText(t, r.Remove(t.Context(), "a"), "full")
	d.err = nil
	d.hook = func(_ context.Context, call string) {
		if call == `exists "b"` {
			panic("b")
		}
	}
	_, err := r.Exists(t.Context(), "b")
	wantText(t, err, "panicked")
	d.diff = func(context.Context) (io.ReadCloser, error) {
		long := io.LimitReader(zeros{}, 2*headSize)
		return io.NopCloser(io.MultiReader(long, errReader{fault.New(fault.PoolUnavailable, "gone")})), nil
	}
	stream, err := r.Diff(t.Context(), "a", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream); err == nil {
		t.Error("a broken stream seems whole")
	}
	stream.Close()

	if err := r.stop(); err != nil { // a call ends after its answer
		t.Fatal(err)
	}

	for op, ended := range map[string]func(error) bool{
		"init":   func(err error) bool { return err == nil },
		"put":    func(err error) bool { return err == nil },
		"remove": func(err error) bool { return errors.Is(err, fault.NoSpace) },
		"exists": func(err error) bool { return err != nil && strings.Contains(err.Error(), "panicked") },
		"diff":   func(err error) bool { return errors.Is(err, fault.PoolUnavailable) },
	} {
		if errs := seen.ended[op]; len(errs) != 1 || !ended(errs[0]) {
			t.Errorf("%s ended with %v", op, errs)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
