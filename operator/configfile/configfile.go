package configfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// maxSize bounds the size of a file.
const maxSize = 4 << 20

// File is a configuration file as Load found it.
type File struct {
	Path string // with symlinks resolved
	Raw  []byte
	// Exists is false when there is no file; mode, uid and gid are then for a new one.
	Exists   bool
	mode     fs.FileMode
	uid, gid int
}

// Load reads a file for editing. A missing file is no error.
func Load(path string) (File, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{Path: path, mode: 0o644, uid: -1, gid: -1}, nil
	}
	if err != nil {
		return File{}, err
	}
	f := File{Path: real, Exists: true, uid: -1, gid: -1}
	info, err := os.Stat(real)
	if err != nil {
		return File{}, err
	}
	f.mode = info.Mode().Perm()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.uid, f.gid = int(stat.Uid), int(stat.Gid)
	}
	f.Raw, err = Read(real)
	return f, err
}

// Read reads a file. It fails when the file is longer than a configuration can be.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(raw) > maxSize {
		return nil, fault.New(fault.UnsafeInput, "%s is longer than %d bytes", path, maxSize)
	}
	return raw, nil
}

// BackupSuffix is what the name of the first backup of a file ends with.
const BackupSuffix = ".before-overlayzfs"

// BackupName returns a free name for a backup of the file.
func (f File) BackupName() string {
	name := f.Path + BackupSuffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s%s.%d", f.Path, BackupSuffix, n)
	}
}

// Replace replaces the file's content atomically and durably. It keeps the old file
// under the name backup, unless that is empty or there was no file. It fails when the
// file was changed since Load.
func (f File) Replace(raw []byte, backup string) error {
	if err := f.requireUnchanged(); err != nil {
		return err
	}
	dir := filepath.Dir(f.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	next, err := f.writeBeside(dir, raw)
	if err != nil {
		return err
	}
	if f.Exists && backup != "" {
		err = os.Link(f.Path, backup)
	}
	if err == nil {
		err = os.Rename(next, f.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return atomicfile.SyncDir(dir)
}

// Remove removes the file. It fails when the file was changed since Load.
func (f File) Remove() error {
	if err := f.requireUnchanged(); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.Path), atomicfile.SyncDir(filepath.Dir(f.Path)))
}

func (f File) requireUnchanged() error {
	now, err := Load(f.Path)
	if err != nil {
		return err
	}
	if now.Exists != f.Exists || !bytes.Equal(now.Raw, f.Raw) {
		return fault.NewWithRemedy(fault.Busy, "%s was changed meanwhile, and is left as it is now: run the command again", f.Path)
	}
	return nil
}

// WhyReadOnly says why the file cannot be replaced as long as the system runs as it does, or
// returns "".
func (f File) WhyReadOnly() (string, error) {
	mounts, err := mount.ListAt(f.Path)
	if err != nil {
		return "", err
	}
	if len(mounts) > 0 {
		return "something is mounted on it", nil
	}
	return atomicfile.WhyReadOnly(f.Path)
}

// CheckWritable fails when Replace could not create a file. It creates one and removes it
// again. A missing directory is no error, because Replace creates it.
func (f File) CheckWritable() error {
	dir := filepath.Dir(f.Path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	next, err := os.CreateTemp(dir, f.tempPattern())
	if err != nil {
		return err
	}
	return errors.Join(next.Close(), os.Remove(next.Name()))
}

// tempPattern names the new file before it replaces the old one.
func (f File) tempPattern() string { return "." + filepath.Base(f.Path) + "-" }

// writeBeside writes the new file beside the old one, with the same mode and owner.
func (f File) writeBeside(dir string, raw []byte) (name string, err error) {
	next, err := os.CreateTemp(dir, f.tempPattern())
	if err != nil {
		return "", err
	}
	_, err = next.Write(raw)
	if f.Exists {
		err = errors.Join(err, next.Chown(f.uid, f.gid))
	}
	err = errors.Join(err, next.Chmod(f.mode), next.Sync(), next.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(next.Name()))
	}
	return next.Name(), nil
}
