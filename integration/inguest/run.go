package inguest

import (
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Run runs a program and returns its output without surrounding space. The test
// ends if the program fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// RunParallel runs the functions in parallel and joins their errors.
func RunParallel(functions ...func() error) error {
	errs := make([]error, len(functions))
	var wg sync.WaitGroup
	for i, f := range functions {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// RequireRunning fails the test if a command has ended, as ended reports. A test that
// interrupts the command calls it just before, for otherwise it would prove nothing.
func RequireRunning(t testing.TB, name string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		t.Fatalf("%s ended before it could be interrupted: %v", name, err)
	default:
	}
}
