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

// isWhiteoutDevice says whether the entry is a whiteout in overlayfs's own
// form, as tools write that tar an upper directory as it is.
func isWhiteoutDevice(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeChar && hdr.Devmajor == 0 && hdr.Devminor == 0
}

// whiteout hides path in the layers below. What this layer itself has at
// path stays: a directory then hides the one below, and a file does anyway.
func (x *extractor) whiteout(path string, hdr *tar.Header) error {
	uid, gid, err := x.toHost(hdr.Uid, hdr.Gid)
	if err != nil {
		return err
	}
	p, err := x.at(path)
	if err != nil {
		return err
	}
	x.hidden[path] = true
	err = fsat.Mknod(p.dirfd, p.name, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum)
	if errors.Is(err, os.ErrExist) {
		return x.whiteoutOfPresent(p)
	}
	if err != nil || uid == os.Geteuid() && gid == os.Getegid() {
		return err
	}
	return fsat.Chown(p.dirfd, p.name, uid, gid)
}

func (x *extractor) whiteoutOfPresent(p place) error {
	st, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	return setOpaque(p.dirfd, p.name)
}

// opaque makes the directory at path hide the one below it.
func (x *extractor) opaque(path string) error {
	if path == "." && x.Base {
		return nil // there is nothing to hide
	}
	if path == "." {
		return fault.New(fault.Unsupported, "an opaque layer root cannot be expressed in overlayfs: a layer's root always merges with those below")
	}
	x.hidden[path] = true
	p, err := x.at(path + "/.")
	if err != nil {
		return err
	}
	return setOpaque(p.dirfd, ".")
}

func setOpaque(dirfd int, name string) error {
	return fsat.SetXattr(dirfd, name, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// makeParent makes a directory that the tar did not mention, or not yet.
// Nothing but a whiteout may be in its way.
func (x *extractor) makeParent(dirfd int, name string, exists bool) error {
	if err := x.drain(); err != nil {
		return err
	}
	if exists {
		if err := x.dropWhiteout(dirfd, name); err != nil {
			return err
		}
	}
	err := fsat.Mkdir(dirfd, name, impliedMode)
	if errors.Is(err, os.ErrExist) { // the crew has made it
		return x.dropWhiteout(dirfd, name)
	}
	if err != nil {
		return err
	}
	uid, gid := x.IDs.RootPair()
	fd, err := fsat.OpenDir(dirfd, name)
	if err != nil {
		return err
	}
	want := attributes{uid: uid, gid: gid, mode: impliedMode}
	if os.Geteuid() != 0 && x.IDs.Empty() {
		want.uid, want.gid = os.Geteuid(), os.Getegid() // there is no root to give it to
	}
	err = want.applyButTimes(file{place: place{dirfd, name, name}, fd: fd})
	if err == nil && exists {
		err = fsat.SetXattrFD(fd, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
	}
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

// dropWhiteout removes a whiteout to make room for a directory.
func (x *extractor) dropWhiteout(dirfd int, name string) error {
	st, err := fsat.Stat(dirfd, name)
	if err != nil {
		return err
	}
	if !overlayfs.IsWhiteout(st.Mode, st.Rdev) {
		return fault.New(fault.UnsafeInput, "%s, which the layer made a file, is on the way: %w", quote(name), unix.ENOTDIR)
	}
	x.stale, x.recount = true, true
	return fsat.Unlink(dirfd, name)
}
