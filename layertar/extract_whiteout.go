package layertar

import (
	"archive/tar"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// isWhiteoutDevice reports whether the entry is a whiteout in the form of overlayfs. Tools
// that tar an upper directory unchanged write these.
func isWhiteoutDevice(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeChar && hdr.Devmajor == 0 && hdr.Devminor == 0
}

// createWhiteout hides path in the layers below. An entry of this layer at path stays: a
// directory becomes opaque, and a file hides what is below anyway. In a base layer nothing
// is below, and a device would show in the listing of its directory.
func (x *extractor) createWhiteout(path string, hdr *tar.Header) error {
	p, err := x.locate(path)
	if err == nil && x.Base {
		x.addHiding(p)
		return nil
	}
	if err != nil {
		return err
	}
	err = x.makeWhiteout(p, hdr)
	if errors.Is(err, os.ErrExist) {
		return x.hideBelowPresent(p)
	}
	return err
}

// createWhiteoutDevice does the same for a whiteout in the form of overlayfs. As any entry,
// it replaces what the layer has brought of that name.
func (x *extractor) createWhiteoutDevice(path string, hdr *tar.Header) error {
	p, err := x.locate(path)
	if err != nil {
		return err
	}
	if x.Base {
		x.addHiding(p)
		return x.deletePresent(p)
	}
	return x.createOrReplace(p, func() error { return x.makeWhiteout(p, hdr) })
}

// deletePresent removes what has the name, if anything has.
func (x *extractor) deletePresent(p location) error {
	_, err := fsat.Stat(p.dirfd, p.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return x.removeExisting(p)
}

func (x *extractor) makeWhiteout(p location, hdr *tar.Header) error {
	uid, gid, err := x.toHost(hdr.Uid, hdr.Gid)
	if err != nil {
		return err
	}
	if err := fsat.Mknod(p.dirfd, p.name, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum); err != nil {
		return err
	}
	if uid == os.Geteuid() && gid == os.Getegid() {
		return nil
	}
	return fsat.Chown(p.dirfd, p.name, uid, gid)
}

func (x *extractor) hideBelowPresent(p location) error {
	st, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	return setOpaque(p.dirfd, p.name)
}

// markOpaque makes the directory at path hide the one below it. The root gets the mark, as
// with the others, and hides nothing: overlayfs merges the roots of all layers.
func (x *extractor) markOpaque(path string) error {
	if path == "." && !x.Base {
		x.warn("/"+whiteout.OpaqueMarker, "has no effect: overlayfs shows the root of every layer")
		return setOpaque(x.root, ".")
	}
	if deleted, err := x.isDeletedHere(path); err != nil || deleted {
		return err
	}
	p, err := x.locate(path + "/.")
	if errors.Is(err, unix.ENOTDIR) {
		if _, err := x.locate(path); err == nil {
			x.warn(path+"/"+whiteout.OpaqueMarker, "has no effect: the layer has a file in the directory's place")
			return nil
		}
	}
	if err != nil || x.Base {
		return err
	}
	return setOpaque(p.dirfd, ".")
}

// isDeletedHere reports whether the layer itself has a whiteout at path, which an opaque marker
// below it leaves as it is.
func (x *extractor) isDeletedHere(path string) (bool, error) {
	p, err := x.locate(path)
	if err != nil {
		return false, err
	}
	st, err := fsat.Stat(p.dirfd, p.name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return overlayfs.IsWhiteout(st.Mode, st.Rdev), err
}

// recordHiding records a whiteout or opaque directory before it is removed. Beyond maxNames of
// them it does not: a directory of that name then shows what is below, as with the others.
func (x *extractor) recordHiding(p location) error {
	st, err := fsat.Stat(p.dirfd, p.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	hides := overlayfs.IsWhiteout(st.Mode, st.Rdev)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		value, err := fsat.GetXattr(p.dirfd, p.name, overlayfs.OpaqueXattr)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
		hides = overlayfs.IsOpaque(value)
	}
	if hides {
		x.addHiding(p)
	}
	return nil
}

func (x *extractor) addHiding(p location) {
	if len(x.hiding) < maxNames {
		x.hiding[x.order.hash(p.path)] = struct{}{}
	}
}

// wasHiding reports whether the layer deletes what is below p, although something has
// replaced the mark. A directory at p must be opaque.
func (x *extractor) wasHiding(p location) bool {
	_, ok := x.hiding[x.order.hash(p.path)]
	return ok
}

func setOpaque(dirfd int, name string) error {
	return fsat.SetXattr(dirfd, name, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// makeParent makes a directory that the tar has not mentioned, as it is in the layers below.
// It replaces a whiteout and refuses anything else of that name.
func (x *extractor) makeParent(dirfd int, dir, name string, exists bool) error {
	if err := x.waitPending(); err != nil {
		return err
	}
	if exists {
		if err := x.removeWhiteout(dirfd, name); err != nil {
			return err
		}
	}
	err := fsat.Mkdir(dirfd, name, impliedDirMode)
	if errors.Is(err, os.ErrExist) { // a pending file made it
		return x.removeWhiteout(dirfd, name)
	}
	if err != nil {
		return err
	}
	p := location{dirfd, name, path.Join(dir, name)}
	want := x.defaultAttributes()
	want.opaque = exists // it hides what the whiteout hid
	if !exists {
		if want, err = x.impliedAttributes(dirfd, p.path); err != nil {
			return err
		}
	}
	return x.finishParent(p, want)
}

func (x *extractor) finishParent(p location, want attributes) error {
	fd, err := fsat.OpenDir(p.dirfd, p.name)
	if err != nil {
		return err
	}
	err = want.applyExceptTimes(file{location: p, fd: fd})
	if err == nil && want.opaque {
		err = fsat.SetXattrFD(fd, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
	}
	if err == nil && !want.mtime.IsZero() {
		err = x.addDirTimes(p.path, want.atime, want.mtime)
	}
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

// removeWhiteout removes the whiteout name to make room for a directory.
func (x *extractor) removeWhiteout(dirfd int, name string) error {
	st, err := fsat.Stat(dirfd, name)
	if err != nil {
		return err
	}
	if !overlayfs.IsWhiteout(st.Mode, st.Rdev) {
		return fault.New(fault.UnsafeInput, "%s, which the layer made a file, is on the way: %w", quote(name), unix.ENOTDIR)
	}
	x.stale, x.mustRecount = true, true
	return fsat.Unlink(dirfd, name)
}
