package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
)

// testingStub is a testing.TB outside of tests, for the engines' harness. A fatal
// failure panics, and try returns it as an error. close runs the cleanups, the last
// first.
type testingStub struct {
	testing.TB
	log      io.Writer
	cleanups []func()
	failed   bool
}

type fatal struct{ error }

// try calls do and returns its fatal failure.
func (s *testingStub) try(do func()) (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case fatal:
			s.failed = true
			err = cause.error
		default:
			panic(cause)
		}
	}()
	do()
	return nil
}

// close runs all cleanups, even when some fail.
func (s *testingStub) close() error {
	var errs []error
	for _, cleanup := range slices.Backward(s.cleanups) {
		errs = append(errs, s.try(cleanup))
	}
	s.cleanups = nil
	return errors.Join(errs...)
}

// TempDir makes a directory that close removes.
func (s *testingStub) TempDir() string {
	dir, err := os.MkdirTemp("", "race-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			s.Error(err)
		}
	})
	return dir
}

func (s *testingStub) Helper()                    {}
func (s *testingStub) Cleanup(do func())          { s.cleanups = append(s.cleanups, do) }
func (s *testingStub) Failed() bool               { return s.failed }
func (s *testingStub) Log(args ...any)            { fmt.Fprintln(s.log, args...) }
func (s *testingStub) Logf(f string, args ...any) { fmt.Fprintf(s.log, f+"\n", args...) }
func (s *testingStub) Error(args ...any)          { s.Fatal(args...) }
func (s *testingStub) Errorf(f string, a ...any)  { s.Fatalf(f, a...) }
func (s *testingStub) Fatal(args ...any)          { panic(fatal{errors.New(fmt.Sprintln(args...))}) }
func (s *testingStub) Fatalf(f string, a ...any)  { panic(fatal{fmt.Errorf(f, a...)}) }
