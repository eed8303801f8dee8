package fsat

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// procPath is the path of name below dirfd for the l* calls, because there is no
// *xattrat(2) before Linux 6.13. They reach files that cannot be opened: symlinks, devices,
// fifos. The path through /proc is short, and a symlink of that name is not followed.
func procPath(dirfd int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name
}

// SetXattrFD sets an attribute of the open file.
//
// OpenZFS replays an empty value as the attribute's removal, and replays nothing more if there
// is no such attribute. So one with a value is set before. After a replay the attribute is
// missing: who commits the file by the intent log has to wait for the transaction group instead.
func SetXattrFD(fd int, attr string, value []byte) error {
	return setXattr(value, func(value []byte) error {
		return do("setxattr "+attr, "", func() error { return unix.Fsetxattr(fd, attr, value, 0) })
	})
}

// SetXattr sets an attribute of name itself, like SetXattrFD.
func SetXattr(dirfd int, name, attr string, value []byte) error {
	path := procPath(dirfd, name)
	return setXattr(value, func(value []byte) error {
		return do("setxattr "+attr, name, func() error { return unix.Lsetxattr(path, attr, value, 0) })
	})
}

func setXattr(value []byte, set func(value []byte) error) error {
	if len(value) == 0 {
		// The file system may refuse a value that the attribute cannot have.
		if err := set([]byte{0}); err != nil {
			return set(value)
		}
	}
	return set(value)
}

// GetXattrFD returns an attribute of the open file.
func GetXattrFD(fd int, attr string) ([]byte, error) {
	value, err := readGrowing(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, attr, buf) })
	return value, pathError("getxattr "+attr, "", err)
}

// GetXattr returns an attribute of name itself.
func GetXattr(dirfd int, name, attr string) ([]byte, error) {
	path := procPath(dirfd, name)
	value, err := readGrowing(func(buf []byte) (int, error) { return unix.Lgetxattr(path, attr, buf) })
	return value, pathError("getxattr "+attr, name, err)
}

// RemoveXattr removes an attribute of name itself.
func RemoveXattr(dirfd int, name, attr string) error {
	path := procPath(dirfd, name)
	return do("removexattr "+attr, name, func() error { return unix.Lremovexattr(path, attr) })
}

// The attributes that hold a file's access control list, and the one that a directory passes
// on to what is made in it.
const (
	AccessACL  = "system.posix_acl_access"
	DefaultACL = "system.posix_acl_default"
)

// RemoveACLs removes the access control lists that a new directory got from the one around
// it, and reports whether there were some. A directory without a default list got none.
func RemoveACLs(path string) (removed bool, err error) {
	_, err = unix.Lgetxattr(path, DefaultACL, nil)
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return false, nil
	}
	for _, attr := range []string{DefaultACL, AccessACL} {
		err := do("removexattr "+attr, path, func() error { return unix.Lremovexattr(path, attr) })
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return true, err
		}
	}
	return true, nil
}

// ListXattrFD returns the names of the open file's attributes. A file system
// without attributes has none.
func ListXattrFD(fd int) ([]string, error) {
	list, err := readGrowing(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) })
	return split(list), pathError("listxattr", "", ignoreUnsupported(err))
}

// ListXattr returns the names of name's own attributes.
func ListXattr(dirfd int, name string) ([]string, error) {
	path := procPath(dirfd, name)
	list, err := readGrowing(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	return split(list), pathError("listxattr", name, ignoreUnsupported(err))
}

func ignoreUnsupported(err error) error {
	if err == unix.ENOTSUP {
		return nil
	}
	return err
}

// readGrowing calls get with a larger buffer until the value fits. The first buffer is on
// the stack, because most files have few attributes.
func readGrowing(get func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	buf := small[:]
	for {
		var n int
		err := retryEINTR(func() error {
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

// split returns the names in the kernel's NUL-terminated list.
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
