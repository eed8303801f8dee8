package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/retry"
)

// lockFile is locked by commands that change something, so that two of them do not
// run at once. The kernel releases the lock when the process ends in any way.
const lockFile = "/run/overlayzfs.lock"

// lockTimeout is how long a held lock is tried again. A command that only looks holds it for
// an instant.
const lockTimeout = 500 * time.Millisecond

var lockPauses = retry.Pauses{First: time.Millisecond, Most: 50 * time.Millisecond}

// runLocked runs a command that changes something, while no other such command runs.
func (c console) runLocked(command string, run func() error) (err error) {
	f, err := os.OpenFile(c.lock, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("lock out other commands: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	isHeld := func(err error) bool { return errors.Is(err, unix.EWOULDBLOCK) }
	if err := lockPauses.While(ctx, isHeld, func() error { return fsat.TryLock(int(f.Fd())) }); isHeld(err) {
		return fmt.Errorf("%s is running on this host and holds %s; wait for its end: %w", readHolder(f), c.lock, errRefused)
	} else if err != nil {
		return err
	}
	if err := writeHolder(f, command); err != nil {
		return err
	}
	return run()
}

// isLocked reports whether a command that changes something is running. Its
// intermediate results are no leftovers.
func (c console) isLocked() bool { return c.findHolder() != "" }

// findHolder returns the command that changes something and is running, or "".
func (c console) findHolder() string {
	f, err := os.Open(c.lock)
	if err != nil {
		return "" // no such command ever ran here
	}
	defer f.Close()
	// The lock is shared, so that two that look do not take each other for a command.
	if !errors.Is(fsat.TryLockShared(int(f.Fd())), unix.EWOULDBLOCK) {
		return ""
	}
	return readHolder(f)
}

// writeHolder writes into the file who has the lock, for people.
func writeHolder(f *os.File, command string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "overlayzfs %s, process %d", command, os.Getpid())
	return err
}

// readHolder returns who has the lock, as far as the file says.
func readHolder(f *os.File) string {
	raw, err := io.ReadAll(io.LimitReader(f, 200))
	text := strings.TrimSpace(string(raw))
	if err != nil || text == "" {
		return "another overlayzfs command"
	}
	return text
}
