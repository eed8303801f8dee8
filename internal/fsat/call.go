package fsat

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// retryEINTR repeats call while signals interrupt it.
func retryEINTR(call func() error) error {
	for {
		err := call()
		if err != unix.EINTR {
			return err
		}
	}
}

// pathError returns an *fs.PathError for an errno; nil stays nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// do repeats call while signals interrupt it, and returns its error as an *fs.PathError.
func do(op, name string, call func() error) error {
	return pathError(op, name, retryEINTR(call))
}

// Close closes fd. It does not retry, because the descriptor is gone whatever close(2)
// returns. An error means that a delayed write failed.
func Close(fd int) error {
	err := unix.Close(fd)
	if err == unix.EINTR {
		return nil
	}
	return pathError("close", "", err)
}

// CloseQuietly closes a descriptor and ignores the error. It is for one that nothing was
// written through, or whose file is given up.
func CloseQuietly(fd int) {
	_ = unix.Close(fd)
}

// Dup returns another descriptor of the file that fd has open.
func Dup(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return dup, pathError("dup", "", err)
}
