package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a pseudo terminal.
func terminal(t *testing.T) (tty, other *os.File) {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(other.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(other.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close(); other.Close() })
	return tty, other
}

// TestBarOnTerminal shows a bar for long work.
func TestBarOnTerminal(t *testing.T) {
	defer func(before time.Duration) { barDelay = before }(barDelay)
	barDelay = 0
	tty, other := terminal(t)
	seen := shows(other, "comparing layers")
	step, done := console{err: tty}.showProgress("comparing layers", 10)
	step(5)
	if got := <-seen; !strings.Contains(got, "comparing layers") || !strings.Contains(got, "50") {
		t.Errorf("the terminal shows %q", got)
	}
	done()
}

// shows reads a terminal until it shows a text.
func shows(terminal *os.File, text string) <-chan string {
	seen := make(chan string, 1)
	go func() {
		all, buffer := "", make([]byte, 4096)
		for !strings.Contains(all, text) {
			n, err := terminal.Read(buffer)
			if err != nil {
				break
			}
			all += string(buffer[:n])
		}
		seen <- all
	}()
	return seen
}

// TestSpinner shows the work, and no percentage.
func TestSpinner(t *testing.T) {
	defer func(before time.Duration) { barDelay = before }(barDelay)
	barDelay = 0
	tty, other := terminal(t)
	seen := shows(other, "going back")
	done := console{err: tty}.showSpinner("going back")
	if got := <-seen; !strings.Contains(got, "going back") || strings.Contains(got, "0.00%") {
		t.Errorf("the terminal shows %q", got)
	}
	done()
}

// TestNoBar for short work, or in output that a program reads.
func TestNoBar(t *testing.T) {
	var out bytes.Buffer
	step, done := console{err: &out}.showProgress("x", 1)
	step(1)
	done()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
	tty, _ := terminal(t)
	for range 100 {
		_, done := console{err: tty}.showProgress("x", 0)
		done()
	}
}
