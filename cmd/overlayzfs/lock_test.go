package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

func TestRunLocked(t *testing.T) {
	c := testConsole(t, &bytes.Buffer{})
	err := c.runLocked("rollback", func() error {
		err := c.runLocked("gc", func() error { t.Error("both ran"); return nil })
		if exitCode(err) != exitRefused || !strings.Contains(err.Error(), "overlayzfs rollback, process") {
			t.Errorf("%v", err)
		}
		return errFirst
	})
	if !errors.Is(err, errFirst) {
		t.Errorf("the command's own error is lost: %v", err)
	}
	ran := false
	if err := c.runLocked("gc", func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("after the end of the first: %v", err)
	}
}

var errFirst = errors.New("x")

// TestLockIsNoLink: a link in the directory must not choose the file that is truncated.
func TestLockIsNoLink(t *testing.T) {
	c := testConsole(t, &bytes.Buffer{})
	if err := os.Symlink("elsewhere", c.lock); err != nil {
		t.Fatal(err)
	}
	if err := c.runLocked("gc", func() error { t.Error("it ran"); return nil }); err == nil {
		t.Error("no error")
	}
}

// TestLookIsNoCommand: a doctor that looks at the lock keeps no command from running, and two of
// them do not take each other for one.
func TestLookIsNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConsole(t, &bytes.Buffer{})
		nothing := func() error { return nil }
		if err := c.runLocked("send", nothing); err != nil {
			t.Fatal(err)
		}
		look, err := os.Open(c.lock)
		if err != nil {
			t.Fatal(err)
		}
		if err := fsat.TryLockShared(int(look.Fd())); err != nil {
			t.Fatal(err)
		}
		if holder := c.findHolder(); holder != "" {
			t.Errorf("beside one that looks, %s is running", holder)
		}
		ended := make(chan error)
		go func() { ended <- c.runLocked("gc", nothing) }()
		synctest.Wait()
		if err := look.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
