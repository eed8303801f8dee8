package whiteout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/versions"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// system are the calls of the probe. It is an interface because tests need a file system
// without a feature, which only a fake can be.
type system interface {
	create(path string) error
	mkdir(path string) error
	rename(from, to string, flags uint) error
	tmpfile(dir, name string) error // O_TMPFILE, then linked to name
	setXattr(path, name string, value []byte) error
	mknod(path string, mode uint32, dev int) error
	lstat(path string) (mode uint32, rdev uint64, err error)
	firstType(dir string) (uint8, error) // d_type of the directory's one entry
	fileSystem(dir string) string        // name and version, for a person
	release() string                     // the kernel's name and release
}

// kernel is the system of the running kernel.
type kernel struct{}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func (kernel) create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (kernel) mkdir(path string) error { return os.Mkdir(path, 0o700) }

func (kernel) rename(from, to string, flags uint) error {
	return fsat.Rename(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

func (kernel) tmpfile(dir, name string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return pathError("open O_TMPFILE", dir, err)
	}
	return errors.Join(fsat.LinkFD(fd, unix.AT_FDCWD, name), fsat.Close(fd))
}

func (kernel) setXattr(path, name string, value []byte) error {
	return pathError("setxattr "+name, path, unix.Lsetxattr(path, name, value, 0))
}

func (kernel) mknod(path string, mode uint32, dev int) error {
	return fsat.Mknod(unix.AT_FDCWD, path, mode, uint64(dev))
}

func (kernel) lstat(path string) (uint32, uint64, error) {
	st, err := fsat.Stat(unix.AT_FDCWD, path)
	return st.Mode, st.Rdev, err
}

func (kernel) firstType(dir string) (uint8, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	entries, err := fsat.ReadDir(int(f.Fd()))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil && len(entries) != 1 {
		err = fmt.Errorf("%s has %d entries instead of one", dir, len(entries))
	}
	if err != nil {
		return 0, err
	}
	return entries[0].Type, nil
}

func (k kernel) fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != zfs.SuperMagic {
		return fmt.Sprintf("the file system (type %#x, %s)", uint64(st.Type), k.release())
	}
	version, err := zfs.Version()
	if err != nil {
		return "OpenZFS of unknown version"
	}
	return zfsName(version)
}

// zfsName returns the release's name for a version of the module, such as "2.1.11-1".
func zfsName(version string) string {
	release, _, _ := strings.Cut(version, "-")
	return "OpenZFS " + release
}

func (kernel) release() string {
	release, err := versions.KernelRelease()
	if err != nil {
		return "Linux"
	}
	return "Linux " + release
}
