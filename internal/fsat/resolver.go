package fsat

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrEscapes is the error of a path that leads above the root, by its own
// ".." or by that of a symlink it passes.
var ErrEscapes = errors.New("leads above the root")

// Resolver opens directories below a root as a chroot there would find them:
// an absolute symlink starts again at the root. Unlike in a chroot, ".." at
// the root is ErrEscapes instead of staying there: it is never meant well.
//
// The last directory stays open, so that the many entries of one directory
// cost one resolution. Whoever replaces a name calls Forget.
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

// NewStrictResolver returns a Resolver to which a symlink is no directory.
func NewStrictResolver(root int) *Resolver {
	return &Resolver{root: root, resolve: strict, fd: -1}
}

// Maker makes the directory name below dirfd for a path's sake: nothing is
// there, or (exists) something that is neither directory nor symlink.
type Maker func(dirfd int, name string, exists bool) error

// Dir returns a descriptor of the directory at path, valid until the next
// call and good only as a dirfd. Without a Maker what is missing is an error.
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
		return -1, fail("resolve", path, err)
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

// open lets the kernel walk the path at once; what its confinement cannot
// express (absolute symlinks, endless paths, making directories) is walked here.
func (r *Resolver) open(path string, missing Maker) (int, error) {
	fd, err := openAncestor(r.root, path, r.resolve)
	switch err {
	case unix.EXDEV, unix.ENAMETOOLONG, unix.ENOENT, unix.ENOTDIR:
		w := walk{root: r.root, at: -1, strict: r.resolve == strict, missing: missing}
		return w.run(strings.Split(path, "/"))
	}
	return fd, err
}
