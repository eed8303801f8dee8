package fsat

import "golang.org/x/sys/unix"

// confined is how a path from outside is resolved: below the directory, in
// its own mount, never through /proc's magic links.
const confined = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// strict is how one name, or a path known to hold no symlink, is resolved.
const strict = confined | unix.RESOLVE_NO_SYMLINKS

// openRetries bounds EAGAIN: the kernel gives up on ".." when a rename or
// mount anywhere ran meanwhile, and asks to try again.
const openRetries = 128

// openat2 opens path below dirfd under the given restrictions.
func openat2(dirfd int, path string, flags int, mode uint32, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(mode), Resolve: resolve}
	var fd int
	var err error
	for range openRetries {
		err = retry(func() error {
			var err error
			fd, err = unix.Openat2(dirfd, path, &how)
			return err
		})
		if err != unix.EAGAIN {
			break
		}
	}
	return fd, err
}

// OpenDir opens the directory name below dirfd for reading it and for
// changing its attributes.
func OpenDir(dirfd int, name string) (int, error) {
	fd, err := openat2(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, strict)
	return fd, fail("open directory", name, err)
}

// OpenFile opens the regular file name below dirfd for reading. It does not
// block on what became a fifo meanwhile; the caller looks at the type.
func OpenFile(dirfd int, name string) (int, error) {
	fd, err := openat2(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0, strict)
	return fd, fail("open", name, err)
}

// CreateFile makes the new file name below dirfd and opens it for writing.
// Whatever has that name already, even a dangling symlink, is EEXIST.
func CreateFile(dirfd int, name string, mode uint32) (int, error) {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW
	fd, err := openat2(dirfd, name, flags, mode&0o777, strict)
	return fd, fail("create", name, err)
}

// openAncestor opens a directory for use as a dirfd only.
func openAncestor(dirfd int, path string, resolve uint64) (int, error) {
	return openat2(dirfd, path, unix.O_PATH|unix.O_DIRECTORY, 0, resolve)
}
