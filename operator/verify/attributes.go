package verify

import (
	"archive/tar"
	"cmp"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// fileTypes maps the types of tar entries to file types.
var fileTypes = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeCont: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK,
	tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
}

// checkFile compares a file's attributes with the tar's headers.
func (t *layerTree) checkFile(f *file) error {
	if f.typeHeader == nil {
		if err := t.findLinkTarget(f); err != nil {
			return err
		}
	}
	e, _, err := t.find(f.name)
	if err != nil {
		return err
	}
	if f.typeHeader == nil { // a hard link to a file of a layer below
		return cmp.Or(f.checkAttributes(), f.checkXattrs(e.Dir, e.Name))
	}
	want, ok := fileTypes[f.typeHeader.Typeflag]
	if !ok {
		return rebuild.Unproven{Err: fmt.Errorf("unknown type %q of a tar entry", f.typeHeader.Typeflag)}
	}
	if got := f.st.Mode & unix.S_IFMT; got != want {
		return fmt.Errorf("is of type %#o, recorded %#o", got, want)
	}
	if err := f.checkAttributes(); err != nil {
		return err
	}
	switch want {
	case unix.S_IFREG:
		if err := cmp.Or(f.checkSize(), f.checkCapabilities(e.Dir, e.Name)); err != nil {
			return err
		}
		return cmp.Or(t.checkContent(f, e), f.checkXattrs(e.Dir, e.Name))
	case unix.S_IFDIR:
		return cmp.Or(f.checkCapabilities(e.Dir, e.Name), f.checkXattrs(e.Dir, e.Name))
	case unix.S_IFLNK:
		return checkTarget(e.Dir, e.Name, f.typeHeader.Linkname)
	case unix.S_IFCHR, unix.S_IFBLK:
		return f.checkDevice()
	}
	return nil
}

func (f *file) checkAttributes() error {
	if !isOwner(f.st.Uid, f.ownerHeader.Uid) || !isOwner(f.st.Gid, f.ownerHeader.Gid) {
		return fmt.Errorf("belongs to %d:%d, recorded %d:%d", f.st.Uid, f.st.Gid, f.ownerHeader.Uid, f.ownerHeader.Gid)
	}
	got, want := f.st.Mode&0o7777, uint32(f.ownerHeader.Mode&0o7777)
	if got != want && f.st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return fmt.Errorf("has mode %#o, recorded %#o", got, want)
	}
	return nil
}

// isOwner reports whether a file has the owner of its header. A file gets the lower 32 bits, and
// -1 stands for whatever owner a new file has.
func isOwner(got uint32, header int) bool {
	const any = 1<<32 - 1
	return uint32(header) == got || uint32(header) == any
}

// checkSize compares the size of a regular file. The digest does not cover a file that is
// recorded as empty.
func (f *file) checkSize() error {
	if f.st.Size != f.typeHeader.Size {
		return fmt.Errorf("has %d bytes, recorded %d", f.st.Size, f.typeHeader.Size)
	}
	return nil
}

func (f *file) checkDevice() error {
	if want := unix.Mkdev(uint32(f.typeHeader.Devmajor), uint32(f.typeHeader.Devminor)); f.st.Rdev != want {
		return fmt.Errorf("is device %d:%d, recorded %d:%d", unix.Major(f.st.Rdev), unix.Minor(f.st.Rdev), f.typeHeader.Devmajor, f.typeHeader.Devminor)
	}
	return nil
}

func checkTarget(dirfd int, name, want string) error {
	got, err := fsat.Readlink(dirfd, name)
	if err == nil && got != want {
		err = fmt.Errorf("points to %q, recorded %q", got, want)
	}
	return err
}
