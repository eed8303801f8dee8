package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
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
