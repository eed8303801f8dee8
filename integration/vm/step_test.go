package vm

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// chain is a build of three steps, first ← second ← third, that counts runs.
func chain(secondInput string, runs *[]string, fail *string) (third *step) {
	make := func(name string, input any, needs ...*step) *step {
		return &step{name: name, title: name, inputs: input, needs: needs, run: func(_ context.Context, work *workspace) error {
			*runs = append(*runs, name)
			if *fail == name {
				return errors.New("interrupted")
			}
			return os.WriteFile(filepath.Join(work.dir, "result"), []byte(name), 0o644)
		}}
	}
	first := make("first", 1)
	first.scratch = true
	return make("third", 3, make("second", secondInput, first))
}

func TestStepsRunOnceAndResume(t *testing.T) {
	cache := t.TempDir()
	var runs []string
	var fail string
	build := func(input string) error {
		runs = nil
		return runSteps(t.Context(), cache, chain(input, &runs, &fail), newProgress(io.Discard))
	}
	expect := func(when string, want ...string) {
		t.Helper()
		if !reflect.DeepEqual(runs, want) {
			t.Errorf("%s: ran %v, want %v", when, runs, want)
		}
	}

	fail = "second"
	if build("a") == nil {
		t.Error("a failed step was not reported")
	}
	expect("the first build", "first", "second")
	if _, err := os.Stat(filepath.Join(cache, "second")); err == nil {
		t.Error("a failed step left a result")
	}
	fail = ""
	if err := build("a"); err != nil {
		t.Fatal(err)
	}
	expect("the resumed build", "second", "third")
	if err := build("a"); err != nil {
		t.Fatal(err)
	}
	expect("nothing changed")
	if err := build("b"); err != nil {
		t.Fatal(err)
	}
	expect("the second step's input changed", "first", "second", "third")
	if _, err := os.Stat(filepath.Join(cache, "first")); err == nil {
		t.Error("a scratch result outlived the build")
	}
}

func TestLockWaits(t *testing.T) {
	cache := t.TempDir()
	unlock, err := lock(cache, func() { t.Error("the first one waits") })
	if err != nil {
		t.Fatal(err)
	}
	waiting, locked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(locked)
		release, err := lock(cache, func() { close(waiting) })
		if err != nil {
			t.Error(err)
			return
		}
		release()
	}()
	<-waiting
	select {
	case <-locked:
		t.Error("two builds hold the lock")
	default:
	}
	unlock()
	<-locked
}
