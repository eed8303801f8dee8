package fsat

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// There is no *xattrat(2) before Linux 6.13. An open file has the f* calls;
// for what cannot be opened (symlinks, devices, fifos) the l* calls reach the
// name through the directory's entry in /proc, which keeps the path short and
// the last symlink unfollowed.
func procPath(dirfd int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name
}

// SetXattrFD sets an attribute of the open file.
func SetXattrFD(fd int, attr string, value []byte) error {
	return do("setxattr "+attr, "", func() error { return unix.Fsetxattr(fd, attr, value, 0) })
}

// SetXattr sets an attribute of name itself.
func SetXattr(dirfd int, name, attr string, value []byte) error {
	path := procPath(dirfd, name)
	return do("setxattr "+attr, name, func() error { return unix.Lsetxattr(path, attr, value, 0) })
}

// GetXattrFD returns an attribute of the open file.
func GetXattrFD(fd int, attr string) ([]byte, error) {
	value, err := grow(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, attr, buf) })
	return value, fail("getxattr "+attr, "", err)
}

// GetXattr returns an attribute of name itself.
func GetXattr(dirfd int, name, attr string) ([]byte, error) {
	path := procPath(dirfd, name)
	value, err := grow(func(buf []byte) (int, error) { return unix.Lgetxattr(path, attr, buf) })
	return value, fail("getxattr "+attr, name, err)
}

// RemoveXattr takes an attribute of name itself away.
func RemoveXattr(dirfd int, name, attr string) error {
	path := procPath(dirfd, name)
	return do("removexattr "+attr, name, func() error { return unix.Lremovexattr(path, attr) })
}

// ListXattrFD returns the names of the open file's attributes. A file system
// without attributes has none.
func ListXattrFD(fd int) ([]string, error) {
	list, err := grow(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) })
	return split(list), fail("listxattr", "", noneIfUnsupported(err))
}

// ListXattr returns the names of name's own attributes.
func ListXattr(dirfd int, name string) ([]string, error) {
	path := procPath(dirfd, name)
	list, err := grow(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	return split(list), fail("listxattr", name, noneIfUnsupported(err))
}

func noneIfUnsupported(err error) error {
	if err == unix.ENOTSUP {
		return nil
	}
	return err
}

// grow calls get with a buffer, twice as large each time it was too small.
// Most files have few attributes, so the first one is on the stack.
func grow(get func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	buf := small[:]
	for {
		var n int
		err := retry(func() error {
			var err error
			n, err = get(buf)
			return err
		})
		if err == nil {
			return bytes.Clone(buf[:n]), nil
		}
		if err != unix.ERANGE || len(buf) >= 1<<20 {
			return nil, err
		}
		buf = make([]byte, 4*len(buf))
	}
}

// split cuts the kernel's NUL-terminated names apart.
func split(list []byte) []string {
	var names []string
	for len(list) > 0 {
		name, rest, _ := bytes.Cut(list, []byte{0})
		if len(name) > 0 {
			names = append(names, string(name))
		}
		list = rest
	}
	return names
}
