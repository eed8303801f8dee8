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

// pathErrnos are the errnos of a path that the layer itself made impassable, for example
// with a symlink in the place of a directory.
var pathErrnos = map[unix.Errno]bool{unix.ELOOP: true, unix.ENOTDIR: true, unix.ENAMETOOLONG: true, unix.EXDEV: true}

// impliedDirMode is the mode of directories that a tar leaves out, as overlay2 makes them.
const impliedDirMode = 0o755

// typeVolumeLabel is GNU tar's entry with the archive's label.
const typeVolumeLabel = 'V'

// createEntry creates at path what the entry describes.
func (x *extractor) createEntry(path string, hdr *tar.Header) error {
	want, err := x.parseAttributes(hdr)
	if err != nil {
		return err
	}
	want.opaque = want.opaque && hdr.Typeflag == tar.TypeDir && !x.Base
	p, err := x.locate(path)
	if err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if err := x.createRegular(p, hdr.Size, want); err != nil || !want.isHeavy() {
			return err
		}
		return x.waitPending()
	case tar.TypeDir:
		return x.createDirectory(p, want)
	case tar.TypeSymlink:
		return x.createSymlink(p, hdr.Linkname, want)
	case tar.TypeLink:
		return x.createHardLink(p, hdr.Linkname, want)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.createNode(p, hdr, want)
	}
	return fault.New(fault.UnsafeInput, "entries of type %q are of no known kind, and its content would be lost", hdr.Typeflag)
}

// createDirectory makes a directory, or merges the entry with an existing one.
func (x *extractor) createDirectory(p location, want attributes) error {
	err := fsat.Mkdir(p.dirfd, p.name, want.mode)
	if errors.Is(err, os.ErrExist) {
		// Pending files inherit from it, and must not see attributes of this entry.
		if err := x.waitPending(); err != nil {
			return err
		}
		err = x.replaceByDir(p, want.mode)
	}
	if err != nil {
		return err
	}
	fd, err := fsat.OpenDir(p.dirfd, p.name)
	if err != nil {
		return err
	}
	err = x.finishDir(fd, p, want)
	if closed := fsat.Close(fd); err == nil {
		err = closed
	}
	return err
}

// replaceByDir replaces anything but a directory by one. A directory that replaces a
// whiteout becomes opaque: it hides what the whiteout hid.
func (x *extractor) replaceByDir(p location, mode uint32) error {
	st, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return err
	}
	if err := x.removeExisting(p); err != nil {
		return err
	}
	if err := fsat.Mkdir(p.dirfd, p.name, mode); err != nil || x.Base || !x.wasHiding(p) {
		return err
	}
	return setOpaque(p.dirfd, p.name)
}

func (x *extractor) finishDir(fd int, p location, want attributes) error {
	x.order.addName(x.order.dirs, p.path)
	if err := want.applyExceptTimes(file{location: p, fd: fd}); err != nil {
		return err
	}
	if err := x.addDirTimes(p.path, want.atime, want.mtime); err != nil || !want.opaque {
		return err
	}
	return fsat.SetXattrFD(fd, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// skipRootEntry passes over the entry of the layer's root, as the others do: what
// containers see there are the top layer's attributes, never a lower one's.
func (x *extractor) skipRootEntry(hdr *tar.Header) {
	if hdr.Typeflag != tar.TypeDir {
		x.warn(hdr.Name, "is left out: its name is the layer's root")
	}
}

// createSymlink makes a symbolic link. It stores any target, because no code here follows
// the link out of the layer.
func (x *extractor) createSymlink(p location, target string, want attributes) error {
	if target == "" || len(target) >= unix.PathMax {
		return fault.New(fault.UnsafeInput, "a symlink's target cannot have %d bytes", len(target))
	}
	err := x.createOrReplace(p, func() error { return fsat.Symlink(target, p.dirfd, p.name) })
	if err != nil {
		return err
	}
	x.order.addName(x.order.links, p.path)
	x.size += int64(len(target))
	return want.apply(file{location: p, fd: -1})
}

// Bounds of a device number's parts: dev_t in the kernel has 12 and 20 bits.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

var nodeTypes = map[byte]uint32{
	tar.TypeChar:  unix.S_IFCHR,
	tar.TypeBlock: unix.S_IFBLK,
	tar.TypeFifo:  unix.S_IFIFO,
}

// createNode makes a device or fifo.
func (x *extractor) createNode(p location, hdr *tar.Header, want attributes) error {
	var dev uint64
	if hdr.Typeflag != tar.TypeFifo {
		if uint64(hdr.Devmajor) > maxMajor || uint64(hdr.Devminor) > maxMinor {
			return fault.New(fault.UnsafeInput, "device number %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
		}
		dev = unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	}
	mode := nodeTypes[hdr.Typeflag] | want.mode&0o777
	err := x.createOrReplace(p, func() error { return fsat.Mknod(p.dirfd, p.name, mode, dev) })
	if err != nil {
		return err
	}
	return want.apply(file{location: p, fd: -1})
}
