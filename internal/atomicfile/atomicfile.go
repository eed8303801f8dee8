package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Durability is what is on disk when Replace returns.
type Durability int

// The choices.
const (
	// None leaves writing to the kernel. After a power cut the file can be empty.
	None Durability = iota
	// Content is on disk before the name. After a power cut the file has the old content or
	// the new one.
	Content
	// ContentAndName is on disk when Replace returns: a power cut does not bring the old
	// content back.
	ContentAndName
)

// Options are how a file is replaced.
type Options struct {
	Mode       fs.FileMode // of the new file, less the umask
	Durability Durability
	// Suffix is added to the name for the file beside; "" is ".tmp".
	Suffix string
	// Root, when not nil, confines all paths.
	Root *os.Root
	// Prepare, when not nil, is called with the written file before it gets its name, for
	// example to set its owner.
	Prepare func(*os.File) error
}

// Replace makes data the content of the file at path, which need not exist.
func Replace(path string, data []byte, o Options) error {
	return ReplaceFrom(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}, o)
}

// ReplaceFrom is Replace with the content that fill writes.
func ReplaceFrom(path string, fill func(io.Writer) error, o Options) error {
	var in files = system{}
	if o.Root != nil {
		in = o.Root
	}
	if o.Suffix == "" {
		o.Suffix = ".tmp"
	}
	next := path + o.Suffix
	if err := removeLeftover(in, next); err != nil {
		return err
	}
	if err := write(in, next, fill, o); err != nil {
		return errors.Join(err, ignoreMissing(in.Remove(next)))
	}
	if err := in.Rename(next, path); err != nil {
		return errors.Join(err, in.Remove(next))
	}
	if o.Durability < ContentAndName {
		return nil
	}
	return syncDir(in, filepath.Dir(path))
}

// removeLeftover removes the file of a Replace that died. A directory of that name is not
// one.
func removeLeftover(in files, next string) error {
	info, err := in.Lstat(next)
	switch {
	case err != nil:
		return ignoreMissing(err)
	case info.IsDir():
		return &fs.PathError{Op: "replace", Path: next, Err: syscall.EISDIR}
	}
	return in.Remove(next)
}

func write(in files, next string, fill func(io.Writer) error, o Options) error {
	f, err := in.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, o.Mode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil && o.Prepare != nil {
		err = o.Prepare(f)
	}
	if err == nil && o.Durability >= Content {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// WhyReadOnly says why a file can be neither made nor replaced as long as the system runs as
// it does, or returns "". It makes a file beside path and removes it. A lack of privileges is
// no such reason.
func WhyReadOnly(path string) (string, error) {
	dir := filepath.Dir(path)
	for _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); _, err = os.Stat(dir) {
		dir = filepath.Dir(dir) // Replace's caller makes it
	}
	f, err := os.CreateTemp(dir, ".overlayzfs-")
	switch {
	case errors.Is(err, syscall.EROFS):
		return dir + " is on a read-only file system", nil
	case errors.Is(err, fs.ErrPermission):
		return "", nil
	case err != nil:
		return "", err
	}
	return "", errors.Join(f.Close(), os.Remove(f.Name()))
}

// SyncDir puts the names in a directory on disk.
func SyncDir(dir string) error { return syncDir(system{}, dir) }

func syncDir(in files, dir string) error {
	d, err := in.OpenFile(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// files is where names are looked up: an *os.Root, or the whole system.
type files interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Rename(from, to string) error
	Remove(name string) error
	Lstat(name string) (fs.FileInfo, error)
}

type system struct{}

func (system) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (system) Rename(from, to string) error           { return os.Rename(from, to) }
func (system) Remove(name string) error               { return os.Remove(name) }
func (system) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }
