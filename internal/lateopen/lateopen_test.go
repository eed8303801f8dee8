package lateopen

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sirupsen/logrus"
)

var errNoPool = errors.New("no such pool")

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func succeed(context.Context) (string, error) { return "open", nil }
func fail(context.Context) (string, error)    { return "", errNoPool }
func crash(context.Context) (string, error)   { panic("lost") }
func hang(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// outcome is what a caller got.
type outcome struct {
	value string
	err   error
}

func (o outcome) check(t *testing.T, want string) {
	t.Helper()
	got := o.value
	if o.err != nil {
		got = o.err.Error()
	}
	if got != want {
		t.Errorf("a caller got %q, want %q", got, want)
	}
}

func acquire(ctx context.Context, v *Value[string], open Opener[string]) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		value, err := v.Acquire(ctx, open)
		got <- outcome{value, err}
	}()
	return got
}

// TestAttempts: each caller gets its outcome, and the last attempt decides what is kept.
func TestAttempts(t *testing.T) {
	const panicked = "opening the store panicked: lost; overlayzfs's log has the stack"
	for name, c := range map[string]struct {
		opens []Opener[string]
		want  []string
	}{
		"kept":               {[]Opener[string]{succeed, crash}, []string{"open", "open"}},
		"again after error":  {[]Opener[string]{fail, fail, succeed, fail}, []string{"no such pool", "no such pool", "open", "open"}},
		"again after panic":  {[]Opener[string]{crash, succeed}, []string{panicked, "open"}},
		"error after panic":  {[]Opener[string]{crash, fail}, []string{panicked, "no such pool"}},
		"nothing but panics": {[]Opener[string]{crash, crash}, []string{panicked, panicked}},
	} {
		for _, detached := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: detached})
				for i, open := range c.opens {
					value, err := v.Acquire(t.Context(), open)
					outcome{value, err}.check(t, c.want[i])
				}
				value, isOpen := v.Get()
				if last := c.want[len(c.want)-1]; isOpen != (last == "open") || isOpen != (value == "open") || isOpen == (v.Failure() != nil) {
					t.Errorf("after %q the value is %q, %v, and the failure %v", last, value, isOpen, v.Failure())
				}
			})
		}
	}
}

// TestCallersShareAnAttempt: both its kinds of outcome, and each caller takes the value.
func TestCallersShareAnAttempt(t *testing.T) {
	for _, detached := range []bool{false, true} {
		for want, open := range map[string]Opener[string]{"open": succeed, "no such pool": fail} {
			synctest.Test(t, func(t *testing.T) {
				attempts, taken := 0, 0
				v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: detached, Taken: func(string) { taken++ }})
				let := make(chan struct{})
				slow := func(ctx context.Context) (string, error) {
					attempts++
					<-let
					return open(ctx)
				}
				var all []<-chan outcome
				for range 3 {
					all = append(all, acquire(t.Context(), v, slow))
				}
				synctest.Wait()
				hasty, giveUp := context.WithCancel(t.Context())
				gone := acquire(hasty, v, slow)
				synctest.Wait()
				giveUp()
				(<-gone).check(t, "the store is still being opened: context canceled")
				close(let)
				for _, got := range all {
					(<-got).check(t, want)
				}
				if attempts != 1 || (taken == 3) != (want == "open") {
					t.Errorf("%d attempts, the value taken %d times", attempts, taken)
				}
				v.Close()
			})
		}
	}
}

// TestACallerThatGoesAway ends its own attempt and no other caller's.
func TestACallerThatGoesAway(t *testing.T) {
	for detached, want := range map[bool]struct{ first, second string }{
		false: {"context canceled", "open"},
		true:  {"the store is still being opened: context canceled", "no such pool"},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: detached})
			ctx, goAway := context.WithCancel(t.Context())
			let := make(chan struct{})
			first := acquire(ctx, v, func(ctx context.Context) (string, error) {
				select {
				case <-ctx.Done():
					return "", ctx.Err()
				case <-let:
					return "", errNoPool
				}
			})
			synctest.Wait()
			second := acquire(t.Context(), v, succeed)
			synctest.Wait()
			goAway()
			(<-first).check(t, want.first)
			close(let)
			(<-second).check(t, want.second)
			v.Close()
		})
	}
}

// TestClose waits for the attempt, which it cancels, and refuses others.
func TestClose(t *testing.T) {
	for name, c := range map[string]struct {
		open   Opener[string]
		waiter string
		isOpen bool
	}{
		"open":              {succeed, "open", true},
		"failed":            {fail, "no such pool", false},
		"under way":         {hang, "context canceled", false},
		"opens all the way": {func(ctx context.Context) (string, error) { <-ctx.Done(); return "open", nil }, "open", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended []error
				v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: true, Ended: func(err error) error {
					ended = append(ended, err)
					return err
				}})
				v.Start(c.open)
				waiter := acquire(t.Context(), v, c.open)
				synctest.Wait()
				value, isOpen := v.Close()
				if isOpen != c.isOpen || isOpen != (value == "open") {
					t.Errorf("Close returned %q, %v", value, isOpen)
				}
				(<-waiter).check(t, c.waiter)
				if _, err := v.Acquire(t.Context(), succeed); !errors.Is(err, ErrClosed) {
					t.Errorf("after Close a caller got %v", err)
				}
				if _, again := v.Close(); again {
					t.Error("the second Close returned the value")
				}
				if len(ended) == 0 || len(ended) > 2 {
					t.Errorf("told of %v", ended)
				}
			})
		})
	}
}

// TestCancelOpen ends an attempt, and leaves an open value alone.
func TestCancelOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: true})
		v.Start(hang)
		waiter := acquire(t.Context(), v, hang)
		synctest.Wait()
		v.CancelOpen()
		(<-waiter).check(t, "context canceled")
		if _, err := v.Acquire(t.Context(), hang); !errors.Is(err, context.Canceled) {
			t.Errorf("another attempt: %v", err)
		}
	})
	var ctx context.Context
	v := New(Options[string]{Subject: "the store", Log: quiet(), Detached: true})
	if _, err := v.Acquire(t.Context(), func(own context.Context) (string, error) { ctx = own; return "open", nil }); err != nil {
		t.Fatal(err)
	}
	if v.CancelOpen(); ctx.Err() != nil {
		t.Error("the context of an open value was ended")
	}
	v.Close()
}

// TestReplace: with the lock held, a value is dropped and another one opened.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(Options[string]{Subject: "the store", Log: quiet()})
		if _, wasOpen := v.Drop(errNoPool); wasOpen || v.Failure() != nil {
			t.Error("dropped what is not there")
		}
		if _, err := v.Acquire(t.Context(), func(context.Context) (string, error) { return "old", nil }); err != nil {
			t.Fatal(err)
		}
		if err := v.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if value, wasOpen := v.Drop(errNoPool); !wasOpen || value != "old" || !errors.Is(v.Failure(), errNoPool) {
			t.Errorf("dropped %q, %v, for %v", value, wasOpen, v.Failure())
		}
		waiter := acquire(t.Context(), v, fail)
		synctest.Wait()
		if err := v.Open(t.Context(), crash); err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("opening panicked, and the error is %v", err)
		}
		if err := v.Open(t.Context(), succeed); err != nil {
			t.Error(err)
		}
		v.Unlock()
		(<-waiter).check(t, "open")
	})
}
