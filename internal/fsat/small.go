package fsat

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadSmall reads a small file by its path. os.ReadFile makes nine calls of
// what takes three, to find out whether the file can be waited for.
func ReadSmall(path string) ([]byte, error) {
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
		if buf = buf[:len(buf)+n]; len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// WriteSmall makes a small file that must not exist yet.
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
	err = retry(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, fail("open", path, err)
}

func readOnce(fd int, path string, p []byte) (n int, err error) {
	err = retry(func() (err error) {
		n, err = unix.Read(fd, p)
		return err
	})
	return max(n, 0), fail("read", path, err)
}
