package dockerconf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// File is a daemon.json as it was found.
type File struct {
	Path string // with symlinks resolved
	Raw  []byte
	// Mode and owner; those of a new file where Exists is false.
	Exists   bool
	mode     fs.FileMode
	uid, gid int
}

// Load reads a daemon.json that is to be edited. That there is none is no error.
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
	f.Raw, err = readFile(real)
	return f, err
}

// Config is what the file says. An error names the file.
func (f File) Config() (Config, error) {
	c, err := Decode(f.Raw)
	if err != nil {
		return Config{}, fault.New(fault.Invalid, "%s: %w", f.Path, err)
	}
	return c, nil
}

// Edit is Edit of the file's content. An error names the file.
func (f File) Edit(changes []Change) ([]byte, error) {
	edited, err := Edit(f.Raw, changes)
	if err != nil {
		err = fault.New(fault.Invalid, "%s: %w", f.Path, err)
	}
	return edited, err
}

// BackupName is where Replace keeps what the file holds: a name that is free.
func (f File) BackupName() string {
	name := f.Path + ".before-overlayzfs"
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s.before-overlayzfs.%d", f.Path, n)
	}
}

// Replace puts other content in the file's place, in one step that a power cut
// does not tear, and leaves the old file under the name backup, if there was one
// and backup is not empty. What somebody changed since Load is not overwritten.
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

// Remove takes the file away, unless somebody changed it since Load.
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

// CheckWritable makes sure that Replace can make a file there, by making one and
// removing it again. A directory that is not there yet is going to be made.
func (f File) CheckWritable() error {
	dir := filepath.Dir(f.Path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	next, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return err
	}
	return errors.Join(next.Close(), os.Remove(next.Name()))
}

// tempPattern is what the new file is called before it takes the old one's place.
const tempPattern = ".daemon.json-"

// writeBeside makes the new file beside the old one, with its mode and owner.
func (f File) writeBeside(dir string, raw []byte) (name string, err error) {
	next, err := os.CreateTemp(dir, tempPattern)
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
