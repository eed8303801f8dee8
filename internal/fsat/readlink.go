package fsat

import "golang.org/x/sys/unix"

// Readlink returns the target of the symlink name below dirfd, whatever its
// length.
func Readlink(dirfd int, name string) (string, error) {
	target, err := readlink(dirfd, name)
	return target, pathError("readlink", name, err)
}

// readlink grows its buffer until the target leaves room in it: readlinkat
// truncates without saying so.
func readlink(dirfd int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		var n int
		err := retryEINTR(func() error {
			var err error
			n, err = unix.Readlinkat(dirfd, name, buf)
			return err
		})
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}
