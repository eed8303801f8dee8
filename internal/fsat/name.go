package fsat

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Mkdir makes the directory name below dirfd. As with every call that makes a name, the
// umask applies and only permission bits are used; Chmod sets the others.
func Mkdir(dirfd int, name string, mode uint32) error {
	return do("mkdir", name, func() error { return unix.Mkdirat(dirfd, name, mode&0o777) })
}

// Mknod makes the device or fifo name below dirfd; mode carries the type.
func Mknod(dirfd int, name string, mode uint32, dev uint64) error {
	return do("mknod", name, func() error {
		return unix.Mknodat(dirfd, name, mode&(unix.S_IFMT|0o777), int(dev))
	})
}

// Symlink makes name below dirfd a symlink to target.
func Symlink(target string, dirfd int, name string) error {
	return do("symlink", name, func() error { return unix.Symlinkat(target, dirfd, name) })
}

// Link makes name below dirfd another name of oldName below oldDir. A symlink is linked
// itself.
func Link(oldDir int, oldName string, dirfd int, name string) error {
	return do("link", name, func() error { return unix.Linkat(oldDir, oldName, dirfd, name, 0) })
}

// LinkFD makes name below dirfd a name of the open file. It links through /proc, because
// linking the descriptor itself needs CAP_DAC_READ_SEARCH.
func LinkFD(fd, dirfd int, name string) error {
	pinned := "/proc/self/fd/" + strconv.Itoa(fd)
	return do("link", name, func() error {
		return unix.Linkat(unix.AT_FDCWD, pinned, dirfd, name, unix.AT_SYMLINK_FOLLOW)
	})
}

// Unlink removes name below dirfd, which is not a directory.
func Unlink(dirfd int, name string) error {
	return do("unlink", name, func() error { return unix.Unlinkat(dirfd, name, 0) })
}

// Rmdir removes the empty directory name below dirfd.
func Rmdir(dirfd int, name string) error {
	return do("rmdir", name, func() error { return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR) })
}

// RenameNoReplace renames oldName below oldDir to name below dirfd. It returns EEXIST when
// name exists, and EINVAL on a file system without RENAME_NOREPLACE.
func RenameNoReplace(oldDir int, oldName string, dirfd int, name string) error {
	return Rename(oldDir, oldName, dirfd, name, unix.RENAME_NOREPLACE)
}

// Rename renames oldName below oldDir to name below dirfd, with flags of renameat2(2).
func Rename(oldDir int, oldName string, dirfd int, name string, flags uint) error {
	return do("rename", name, func() error { return unix.Renameat2(oldDir, oldName, dirfd, name, flags) })
}
