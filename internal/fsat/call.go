package fsat

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// retry runs call until no signal interrupts it.
func retry(call func() error) error {
	for {
		err := call()
		if err != unix.EINTR {
			return err
		}
	}
}

// fail names the call and the file of an errno; nil stays nil.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// do is retry with a named error.
func do(op, name string, call func() error) error {
	return fail(op, name, retry(call))
}

// Close closes fd. The descriptor is gone whatever close(2) says, so it is
// not retried; an error is a delayed write that failed.
func Close(fd int) error {
	err := unix.Close(fd)
	if err == unix.EINTR {
		return nil
	}
	return fail("close", "", err)
}

// CloseQuietly closes a descriptor that nothing was written through, or whose
// file is given up: closing it cannot fail in a way that matters.
func CloseQuietly(fd int) {
	_ = unix.Close(fd)
}

// Dup returns another descriptor of what fd has open.
func Dup(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return dup, fail("dup", "", err)
}
