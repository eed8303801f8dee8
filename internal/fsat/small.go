package fsat

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadSmall reads a small file by its path, in four system calls. os.ReadFile makes nine,
// to find out whether the file can be polled.
func ReadSmall(path string) ([]byte, error) { return readSmall(path, false) }

// ReadSmallRegular is ReadSmall for a file on a disk, in three system calls: a short read
// ends it. Files of the kernel can have short reads in between.
func ReadSmallRegular(path string) ([]byte, error) { return readSmall(path, true) }

func readSmall(path string, regular bool) ([]byte, error) {
	fd, err := openPath(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer CloseQuietly(fd)
	buf := make([]byte, 0, 512)
	for {
		n, err := readOnce(fd, path, buf[len(buf):cap(buf)])
		if err != nil || n == 0 {
			return buf, err
		}
		isShort := len(buf)+n < cap(buf)
		if buf = buf[:len(buf)+n]; regular && isShort {
			return buf, nil
		}
		if !isShort {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// WriteSmall creates a small file, which must not exist.
func WriteSmall(path string, data []byte, mode os.FileMode) error {
	fd, err := openPath(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, uint32(mode.Perm()))
	if err != nil {
		return err
	}
	if err := WriteAt(fd, data, 0); err != nil {
		CloseQuietly(fd)
		return err
	}
	return Close(fd)
}

func openPath(path string, flags int, mode uint32) (fd int, err error) {
	err = retryEINTR(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, pathError("open", path, err)
}

func readOnce(fd int, path string, p []byte) (n int, err error) {
	err = retryEINTR(func() (err error) {
		n, err = unix.Read(fd, p)
		return err
	})
	return max(n, 0), pathError("read", path, err)
}
