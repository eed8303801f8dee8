// Package inguest is what tests inside the lab share: to end on an error, to
// wait for something, to run a program. What they test is not its business.
package inguest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until check passes, also when a test cleans up. Nothing is
// asserted about how soon.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("it still fails: %v", err)
		case <-poll.C:
		}
	}
}

// AtOnce runs the functions at the same time and joins what they return.
func AtOnce(functions ...func() error) error {
	errs := make([]error, len(functions))
	var wg sync.WaitGroup
	for i, f := range functions {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Run runs a program and returns what it printed.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Disk is a directory on the root disk, removed when the test ends: what is
// mounted below it must be unmounted by then.
func Disk(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "test-")
	Must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// UnmountAt unmounts what is on exactly dir. Where the host's mounts are not
// shared, dockerd binds its data-root to itself, and one that was killed leaves
// that behind.
func UnmountAt(t testing.TB, dir string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	Must(t, err)
	for line := range strings.Lines(string(table)) {
		if place := strings.Fields(line)[4]; place == dir {
			Run(t, "umount", dir)
		}
	}
}
