package inguest

import (
	"context"
	"errors"
	"testing"
	"time"
)

// waitLimit bounds every wait. It is generous: tests assert that a condition
// comes true, not how soon.
const waitLimit = 2 * time.Minute

// pollInterval is short, because some tests interrupt work that has just begun.
const pollInterval = 5 * time.Millisecond

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WaitFor waits until check passes, and ends the test if it never does. It works
// during the test's cleanup, too.
func WaitFor(t testing.TB, check func() error) {
	t.Helper()
	if err := Poll(context.Background(), check); err != nil {
		t.Fatal(err)
	}
}

// Poll repeats check until it passes, and returns its last error when ctx or the
// limit ends. It pauses for as long as a check takes, so that an expensive check
// leaves the processor to the work it waits for.
func Poll(ctx context.Context, check func() error) error {
	limited, cancel := context.WithTimeoutCause(ctx, waitLimit, errors.New("it still fails after "+waitLimit.String()))
	defer cancel()
	for {
		started := time.Now()
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-limited.Done():
			return errors.Join(context.Cause(limited), err)
		case <-time.After(max(pollInterval, time.Since(started))):
		}
	}
}
