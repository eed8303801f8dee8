package layertar

import (
	"archive/tar"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// createHardLink gives a file of the layer another name; a symlink is linked itself. The
// file gets the entry's attributes, as with overlay2.
func (x *extractor) createHardLink(p location, linkname string, want attributes) error {
	// The target may still be pending.
	if err := x.waitPending(); err != nil {
		return err
	}
	x.order.addName(x.order.links, p.path)
	target, err := x.findLinkTarget(linkname)
	if errors.Is(err, unix.ENOENT) {
		if x.Base && x.wasHiding(target) {
			return x.deletePresent(p) // as another whiteout
		}
		copied, failed := x.copyBelow(p, target.path, want)
		if failed != nil {
			return linkError(linkname, failed)
		}
		if copied {
			return nil
		}
	}
	if err != nil {
		return linkError(linkname, err)
	}
	if err := x.link(target, p); err != nil {
		return linkError(linkname, err)
	}
	if want, err = want.withCapabilities(p); err != nil {
		return linkError(linkname, err)
	}
	return want.apply(file{location: p, fd: -1})
}

// withCapabilities returns the attributes with the capabilities of the file at p, if a change of
// its owner would remove them: tars name attributes with the first of a file's names only.
func (a attributes) withCapabilities(p location) (attributes, error) {
	st, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || a.uid == int(st.Uid) && a.gid == int(st.Gid) {
		return a, err
	}
	value, err := fsat.GetXattr(p.dirfd, p.name, Capabilities)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return a, nil
	}
	a.xattrs = append([]xattr{{Capabilities, value}}, a.xattrs...) // the entry's own comes after it
	return a, err
}

// link makes p a name of the target, unless it is one already.
func (x *extractor) link(target, p location) error {
	err := fsat.Link(target.dirfd, target.name, p.dirfd, p.name)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	a, err := fsat.Stat(target.dirfd, target.name)
	if err != nil {
		return err
	}
	b, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || fsat.InodeOf(a) == fsat.InodeOf(b) {
		return err
	}
	return x.createOrReplace(p, func() error { return fsat.Link(target.dirfd, target.name, p.dirfd, p.name) })
}

// findLinkTarget finds a hard link's target, which must exist and not be a directory. The
// path is valid also when the error is ENOENT.
func (x *extractor) findLinkTarget(linkname string) (location, error) {
	path, err := cleanPath(linkname)
	if err != nil {
		return location{}, err
	}
	if path == "." {
		return location{}, fault.New(fault.UnsafeInput, "it is the layer's root")
	}
	if err := checkLengths(path); err != nil {
		return location{}, err
	}
	dir, name := split(path)
	dirfd, err := x.targets.Dir(dir, nil)
	if err != nil {
		return location{path: path}, classifyPath(err)
	}
	st, err := fsat.Stat(dirfd, name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = fault.New(fault.UnsafeInput, "it is a directory")
	}
	return location{dirfd, name, path}, err
}

// linkError adds the target to the error of a failed link.
func linkError(linkname string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.UnsafeInput, "hard link to %s, which neither the layer nor one below it has: %w", quote(linkname), err)
	}
	return fault.New(classOrUnsafe(err), "hard link to %s: %w", quote(linkname), err)
}

// keepLinked reports whether to unpack an entry of AUFS's store of linked files until the end of
// the layer: its hard links lead there.
func (x *extractor) keepLinked(path string, hdr *tar.Header) bool {
	if !whiteout.IsLinked(path) || hdr.Typeflag != tar.TypeReg {
		return false
	}
	x.linkStore = true
	return true
}

// removeLinkStore removes AUFS's store when all entries are unpacked.
func (x *extractor) removeLinkStore() error {
	if !x.linkStore {
		return nil
	}
	return x.removeExisting(location{x.root, whiteout.LinkStore, whiteout.LinkStore})
}
