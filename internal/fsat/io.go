package fsat

import (
	"io"

	"golang.org/x/sys/unix"
)

// WriteAt writes all of p at the offset.
func WriteAt(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := retryEINTR(func() error {
			var err error
			n, err = unix.Pwrite(fd, p, off)
			return err
		})
		if err != nil {
			return pathError("write", "", err)
		}
		if n == 0 {
			return pathError("write", "", io.ErrShortWrite)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// ReadAt fills p from the offset. It returns io.ErrUnexpectedEOF when the file ends before
// p is full.
func ReadAt(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := retryEINTR(func() error {
			var err error
			n, err = unix.Pread(fd, p, off)
			return err
		})
		if err != nil {
			return pathError("read", "", err)
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Truncate sets the open file's size.
func Truncate(fd int, size int64) error {
	return do("truncate", "", func() error { return unix.Ftruncate(fd, size) })
}

// SyncFileSystem is syncfs(2): it waits until everything written to the file system of fd
// is on disk.
func SyncFileSystem(fd int) error {
	return do("syncfs", "", func() error { return unix.Syncfs(fd) })
}

// SyncFile is fsync(2) of a file or a directory.
func SyncFile(fd int) error {
	return do("fsync", "", func() error { return unix.Fsync(fd) })
}
