package fsat

import "golang.org/x/sys/unix"

// confined keeps the resolution of a path below the directory and in its mount, and refuses
// /proc's magic links.
const confined = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// strict is confined without symlinks: for one name, or a path known to hold none.
const strict = confined | unix.RESOLVE_NO_SYMLINKS

// openRetries bounds the retries after EAGAIN. The kernel returns it for a path with ".."
// when a rename or mount ran anywhere meanwhile.
const openRetries = 128

// openat2 opens path below dirfd under the given restrictions.
func openat2(dirfd int, path string, flags int, mode uint32, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(mode), Resolve: resolve}
	var fd int
	var err error
	for range openRetries {
		err = retryEINTR(func() error {
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

// OpenDir opens the directory name below dirfd, to read it and to change its attributes.
func OpenDir(dirfd int, name string) (int, error) {
	fd, err := openat2(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, strict)
	return fd, pathError("open directory", name, err)
}

// OpenFile opens the regular file name below dirfd for reading. It does not block if name
// became a fifo meanwhile: the caller checks the type.
func OpenFile(dirfd int, name string) (int, error) {
	fd, err := openat2(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0, strict)
	return fd, pathError("open", name, err)
}

// CreateFile creates the file name below dirfd and opens it for writing. It returns EEXIST
// when name exists, even as a dangling symlink.
func CreateFile(dirfd int, name string, mode uint32) (int, error) {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW
	fd, err := openat2(dirfd, name, flags, mode&0o777, strict)
	return fd, pathError("create", name, err)
}

// CreateUnnamed creates a file without a name on the file system of the directory, and opens
// it. It ends with its descriptor.
func CreateUnnamed(dirfd int) (int, error) {
	fd, err := openat2(dirfd, ".", unix.O_RDWR|unix.O_TMPFILE, 0o600, strict)
	return fd, pathError("create a file without a name", "", err)
}

// openAncestor opens a directory that serves only as a dirfd.
func openAncestor(dirfd int, path string, resolve uint64) (int, error) {
	return openat2(dirfd, path, unix.O_PATH|unix.O_DIRECTORY, 0, resolve)
}
