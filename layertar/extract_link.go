package layertar

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// createHardLink gives a file of the layer another name; a symlink is linked itself. The
// file gets the entry's attributes, as with overlay2.
func (x *extractor) createHardLink(p location, linkname string, want attributes) error {
	// The target may still be pending.
	if err := x.waitPending(); err != nil {
		return err
	}
	x.order.addName(x.order.links, p.path)
	dirfd, name, err := x.findLinkTarget(linkname)
	if err != nil {
		return linkError(linkname, err)
	}
	err = x.createOrReplace(p, func() error { return fsat.Link(dirfd, name, p.dirfd, p.name) })
	if err != nil {
		return linkError(linkname, err)
	}
	return want.apply(file{location: p, fd: -1})
}

// findLinkTarget finds a hard link's target, which must exist and not be a directory.
func (x *extractor) findLinkTarget(linkname string) (dirfd int, name string, err error) {
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

// linkError adds the target to the error of a failed link.
func linkError(linkname string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.UnsafeInput, "hard link to %s, which the layer does not have: %w", quote(linkname), err)
	}
	return fault.New(classOrUnsafe(err), "hard link to %s: %w", quote(linkname), err)
}
