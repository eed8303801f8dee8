package verify

import (
	"archive/tar"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// types are what the entries of a tar make.
var types = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK,
	tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
}

// file compares what the tar's headers and the file system both know.
func (t *there) file(f *file) error {
	if f.made == nil {
		return fmt.Errorf("is no hard link to %q", f.last.Linkname)
	}
	want, ok := types[f.made.Typeflag]
	if !ok {
		return rebuild.Unproven{Err: fmt.Errorf("an entry of type %q", f.made.Typeflag)}
	}
	if got := f.st.Mode & unix.S_IFMT; got != want {
		return fmt.Errorf("is of type %#o, recorded %#o", got, want)
	}
	if err := f.sameAttributes(); err != nil {
		return err
	}
	dirfd, base, err := t.place(f.name)
	if err != nil {
		return err
	}
	switch want {
	case unix.S_IFREG, unix.S_IFDIR:
		return errors.Join(f.sameSize(), f.sameXattrs(dirfd, base), f.sameCapabilities(dirfd, base))
	case unix.S_IFLNK:
		return sameTarget(dirfd, base, f.made.Linkname)
	case unix.S_IFCHR, unix.S_IFBLK:
		return f.sameDevice()
	}
	return nil
}

func (f *file) sameAttributes() error {
	if int(f.st.Uid) != f.last.Uid || int(f.st.Gid) != f.last.Gid {
		return fmt.Errorf("belongs to %d:%d, recorded %d:%d", f.st.Uid, f.st.Gid, f.last.Uid, f.last.Gid)
	}
	got, want := f.st.Mode&0o7777, uint32(f.last.Mode&0o7777)
	if got != want && f.st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return fmt.Errorf("has mode %#o, recorded %#o", got, want)
	}
	return nil
}

// sameSize: the content of an empty file is in no record.
func (f *file) sameSize() error {
	if f.st.Mode&unix.S_IFMT == unix.S_IFREG && f.st.Size != f.made.Size {
		return fmt.Errorf("has %d bytes, recorded %d", f.st.Size, f.made.Size)
	}
	return nil
}

func (f *file) sameDevice() error {
	if want := unix.Mkdev(uint32(f.made.Devmajor), uint32(f.made.Devminor)); f.st.Rdev != want {
		return fmt.Errorf("is device %d:%d, recorded %d:%d", unix.Major(f.st.Rdev), unix.Minor(f.st.Rdev), f.made.Devmajor, f.made.Devminor)
	}
	return nil
}

func sameTarget(dirfd int, name, want string) error {
	got, err := fsat.Readlink(dirfd, name)
	if err == nil && got != want {
		err = fmt.Errorf("leads to %q, recorded %q", got, want)
	}
	return err
}
