package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// lockFile is what commands lock that change something, so that two do not
// collide. The kernel gives the lock back when the process ends, however.
const lockFile = "/run/overlayzfs.lock"

// changing runs a command that changes something, while no other such runs.
func (c console) changing(what string, run func() error) (err error) {
	f, err := os.OpenFile(c.lock, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("the lock of changing commands: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := fsat.TryLock(int(f.Fd())); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s is at work on this host (%s is locked); wait for its end: %w", holder(f), c.lock, errRefused)
	} else if err != nil {
		return err
	}
	if err := note(f, what); err != nil {
		return err
	}
	return run()
}

// busy reports whether a command is at work that changes something. What it has made
// is nobody's leftover.
func (c console) busy() bool {
	f, err := os.Open(c.lock)
	if err != nil {
		return false // none was ever at work here
	}
	defer f.Close()
	return errors.Is(fsat.TryLock(int(f.Fd())), unix.EWOULDBLOCK)
}

// note says in the file who has the lock, for people.
func note(f *os.File, what string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "overlayzfs %s, process %d", what, os.Getpid())
	return err
}

// holder is who has the lock, as far as the file says so.
func holder(f *os.File) string {
	raw, err := io.ReadAll(io.LimitReader(f, 200))
	text := strings.TrimSpace(string(raw))
	if err != nil || text == "" {
		return "another overlayzfs command"
	}
	return text
}
