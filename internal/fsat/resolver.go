package fsat

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Resolver opens directories below a root as a chroot would find them: an absolute symlink
// starts at the root again, and ".." at the root stays there.
//
// The last directory stays open, so that the entries of one directory cost one resolution.
// The caller calls Forget after replacing a name.
type Resolver struct {
	root    int
	resolve uint64 // what the kernel's own walk may do
	path    string // of the cached directory
	fd      int    // -1: nothing is cached
}

// NewResolver returns a Resolver for the directory root, which it borrows.
func NewResolver(root int) *Resolver {
	return &Resolver{root: root, resolve: confined, fd: -1}
}

// NewStrictResolver returns a Resolver that does not follow symlinks: one in the place of a
// directory is ENOTDIR.
func NewStrictResolver(root int) *Resolver {
	return &Resolver{root: root, resolve: strict, fd: -1}
}

// Maker makes the missing directory name below dirfd. dir is the path of dirfd from the
// root, without symlinks. With exists, something that is neither a directory nor a symlink
// has the name.
type Maker func(dirfd int, dir, name string, exists bool) error

// Dir returns a descriptor of the directory at path. It serves only as a dirfd and is valid
// until the next call. Without a Maker a missing directory is an error.
func (r *Resolver) Dir(path string, missing Maker) (int, error) {
	if path == "" || path == "." {
		return r.root, nil
	}
	if r.fd >= 0 && r.path == path {
		return r.fd, nil
	}
	r.Forget()
	fd, err := r.open(path, missing)
	if err != nil {
		return -1, pathError("resolve", path, err)
	}
	r.path, r.fd = path, fd
	return fd, nil
}

// Forget drops the cached directory: a name on its path may now mean
// something else.
func (r *Resolver) Forget() {
	if r.fd >= 0 {
		CloseQuietly(r.fd)
	}
	r.path, r.fd = "", -1
}

// open lets the kernel resolve the whole path. It walks the path itself where the kernel
// cannot: absolute symlinks, ".." at the root, many links, very long paths, missing
// directories.
func (r *Resolver) open(path string, missing Maker) (int, error) {
	fd, err := openAncestor(r.root, path, r.resolve)
	if err == unix.ELOOP && r.resolve == confined {
		err = unix.EXDEV // more links than the kernel follows
	}
	switch err {
	case unix.EXDEV, unix.ENAMETOOLONG, unix.ENOENT, unix.ENOTDIR:
		w := walk{root: r.root, at: -1, strict: r.resolve == strict, missing: missing}
		return w.run(strings.Split(path, "/"))
	}
	return fd, err
}
