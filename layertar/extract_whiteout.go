package layertar

import (
	"archive/tar"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// isWhiteoutDevice reports whether the entry is a whiteout in the form of overlayfs. Tools
// that tar an upper directory unchanged write these.
func isWhiteoutDevice(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeChar && hdr.Devmajor == 0 && hdr.Devminor == 0
}

// createWhiteout hides path in the layers below. An entry of this layer at path stays: a
// directory becomes opaque, and a file hides what is below anyway.
func (x *extractor) createWhiteout(path string, hdr *tar.Header) error {
	uid, gid, err := x.toHost(hdr.Uid, hdr.Gid)
	if err != nil {
		return err
	}
	p, err := x.locate(path)
	if err != nil {
		return err
	}
	x.hidden[path] = true
	err = fsat.Mknod(p.dirfd, p.name, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum)
	if errors.Is(err, os.ErrExist) {
		return x.hideBelowPresent(p)
	}
	if err != nil || uid == os.Geteuid() && gid == os.Getegid() {
		return err
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

// markOpaque makes the directory at path hide the one below it.
func (x *extractor) markOpaque(path string) error {
	if path == "." && x.Base {
		return nil // a base layer has nothing to hide
	}
	if path == "." {
		return fault.New(fault.Unsupported, "an opaque layer root cannot be expressed in overlayfs: a layer's root always merges with those below")
	}
	x.hidden[path] = true
	p, err := x.locate(path + "/.")
	if err != nil {
		return err
	}
	return setOpaque(p.dirfd, ".")
}

func setOpaque(dirfd int, name string) error {
	return fsat.SetXattr(dirfd, name, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// makeParent makes a directory that the tar has not mentioned. It replaces a whiteout and
// refuses anything else of that name.
func (x *extractor) makeParent(dirfd int, name string, exists bool) error {
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
	uid, gid := x.IDs.RootPair()
	fd, err := fsat.OpenDir(dirfd, name)
	if err != nil {
		return err
	}
	want := attributes{uid: uid, gid: gid, mode: impliedDirMode}
	if os.Geteuid() != 0 && x.IDs.Empty() {
		want.uid, want.gid = os.Geteuid(), os.Getegid() // only root may give files away
	}
	err = want.applyExceptTimes(file{location: location{dirfd, name, name}, fd: fd})
	if err == nil && exists {
		err = fsat.SetXattrFD(fd, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
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
