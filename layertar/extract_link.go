package layertar

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// link makes another name of a file that the layer has already. Of a symlink
// it links the symlink. The entry's attributes then are the file's, as with
// overlay2.
func (x *extractor) link(p place, linkname string, want attributes) error {
	// The crew may still be making the target.
	if err := x.drain(); err != nil {
		return err
	}
	x.order.note(x.order.links, p.path)
	dirfd, name, err := x.target(linkname)
	if err != nil {
		return linkError(linkname, err)
	}
	err = x.replacing(p, func() error { return fsat.Link(dirfd, name, p.dirfd, p.name) })
	if err != nil {
		return linkError(linkname, err)
	}
	return want.apply(file{place: p, fd: -1})
}

// target finds a hard link's target; it must exist and be no directory.
func (x *extractor) target(linkname string) (dirfd int, name string, err error) {
	path, err := cleanPath(linkname)
	if err != nil {
		return -1, "", err
	}
	if path == "." {
		return -1, "", fault.New(fault.UnsafeInput, "it is the layer's root")
	}
	if err := checkLengths(path); err != nil {
		return -1, "", err
	}
	dir, name := split(path)
	dirfd, err = x.targets.Dir(dir, nil)
	if err != nil {
		return -1, "", classifyPath(err)
	}
	st, err := fsat.Stat(dirfd, name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = fault.New(fault.UnsafeInput, "it is a directory")
	}
	return dirfd, name, err
}

// linkError names the target of a link that cannot be made.
func linkError(linkname string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.UnsafeInput, "hard link to %s, which the layer does not have: %w", quote(linkname), err)
	}
	return fault.New(classOr(err), "hard link to %s: %w", quote(linkname), err)
}
