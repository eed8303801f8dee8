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

// layersFault are the errnos of a path that the layer itself made impassable.
var layersFault = map[unix.Errno]bool{unix.ELOOP: true, unix.ENOTDIR: true, unix.ENAMETOOLONG: true, unix.EXDEV: true}

// impliedMode is of directories that a tar leaves out, as overlay2 makes them.
const impliedMode = 0o755

// create makes what the entry says at path.
func (x *extractor) create(path string, hdr *tar.Header) error {
	want, err := x.attributes(hdr)
	if err != nil {
		return err
	}
	p, err := x.at(path)
	if err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.regular(p, hdr.Size, want)
	case tar.TypeDir:
		return x.directory(p, want)
	case tar.TypeSymlink:
		return x.symlink(p, hdr.Linkname, want)
	case tar.TypeLink:
		return x.link(p, hdr.Linkname, want)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.node(p, hdr, want)
	}
	return fault.New(fault.UnsafeInput, "unknown type %q", hdr.Typeflag)
}

// directory makes a directory or merges with the one there.
func (x *extractor) directory(p place, want attributes) error {
	err := fsat.Mkdir(p.dirfd, p.name, want.mode)
	if errors.Is(err, os.ErrExist) {
		// What its files inherit from it must not depend on who is faster.
		if err := x.drain(); err != nil {
			return err
		}
		err = x.overwriteByDir(p, want.mode)
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

// overwriteByDir replaces what is not a directory by one. In the place of a
// whiteout the directory has to hide, too, what the whiteout hid.
func (x *extractor) overwriteByDir(p place, mode uint32) error {
	st, err := fsat.Stat(p.dirfd, p.name)
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return err
	}
	if overlayfs.IsWhiteout(st.Mode, st.Rdev) {
		x.hidden[p.path] = true
	}
	if err := x.clear(p); err != nil {
		return err
	}
	return fsat.Mkdir(p.dirfd, p.name, mode)
}

func (x *extractor) finishDir(fd int, p place, want attributes) error {
	x.order.note(x.order.dirs, p.path)
	if err := want.applyButTimes(file{place: p, fd: fd}); err != nil {
		return err
	}
	x.dirs = append(x.dirs, dirTimes{p.path, want.atime, want.mtime})
	if !x.hidden[p.path] {
		return nil
	}
	return fsat.SetXattrFD(fd, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// rootEntry passes over the entry of the layer's root, as overlay2 does: what
// containers see there are the top layer's attributes, never a lower one's.
func rootEntry(hdr *tar.Header) error {
	if hdr.Typeflag != tar.TypeDir {
		return fault.New(fault.UnsafeInput, "the layer's root cannot be of type %q", hdr.Typeflag)
	}
	return nil
}

// symlink makes a symlink; any target can be stored, for nothing here ever
// follows it out of the layer.
func (x *extractor) symlink(p place, target string, want attributes) error {
	if target == "" || len(target) >= unix.PathMax {
		return fault.New(fault.UnsafeInput, "a symlink's target cannot have %d bytes", len(target))
	}
	err := x.replacing(p, func() error { return fsat.Symlink(target, p.dirfd, p.name) })
	if err != nil {
		return err
	}
	x.order.note(x.order.links, p.path)
	x.size += int64(len(target))
	return want.apply(file{place: p, fd: -1})
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

// node makes a device or fifo.
func (x *extractor) node(p place, hdr *tar.Header, want attributes) error {
	var dev uint64
	if hdr.Typeflag != tar.TypeFifo {
		if uint64(hdr.Devmajor) > maxMajor || uint64(hdr.Devminor) > maxMinor {
			return fault.New(fault.UnsafeInput, "device number %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
		}
		dev = unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	}
	mode := nodeTypes[hdr.Typeflag] | want.mode&0o777
	err := x.replacing(p, func() error { return fsat.Mknod(p.dirfd, p.name, mode, dev) })
	if err != nil {
		return err
	}
	return want.apply(file{place: p, fd: -1})
}
