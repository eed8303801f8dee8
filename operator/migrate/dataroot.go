package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// dataRoot is Docker's data-root, to be changed. Names are relative to it, and
// none leads out of it.
type dataRoot struct {
	*os.Root
}

// openDataRoot opens the data-root under its real name, which is what mounts have.
func openDataRoot(dir string) (*dataRoot, error) {
	real, err := filepath.EvalSymlinks(dir)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(real)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s is not there: name Docker's data-root with --root", dir)
	}
	if err != nil {
		return nil, err
	}
	return &dataRoot{root}, nil
}

// exists reports whether something has that name.
func (r *dataRoot) exists(name string) (bool, error) {
	_, err := r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// writeFile replaces a file in one step, durably.
func (r *dataRoot) writeFile(name string, data []byte, mode fs.FileMode) error {
	return atomicfile.Replace(name, data, atomicfile.Options{
		Mode: mode, Durability: atomicfile.ContentAndName, Suffix: ".overlayzfs", Root: r.Root,
		Prepare: func(f *os.File) error { return f.Chmod(mode) },
	})
}

// renameDurably gives something another name, and waits until that is on disk.
func (r *dataRoot) renameDurably(from, to string) error {
	if err := r.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(r.syncDir(path.Dir(from)), r.syncDir(path.Dir(to)))
}

// syncDir waits until the names in a directory are on disk.
func (r *dataRoot) syncDir(dir string) error {
	f, err := r.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncStorage waits until all that was written to the data-root is on disk, in whatever
// order it was: on ZFS fsync(2) promises nothing where sync=disabled, on btrfs it
// says nothing of what was removed elsewhere before, and what comes next may be done
// on another pool.
func (r *dataRoot) syncStorage(ctx context.Context) (err error) {
	onZFS, err := zfs.IsZFS(r.Name())
	if err != nil {
		return err
	}
	if !onZFS {
		return r.syncFileSystem()
	}
	dataset, err := zfs.DatasetOf(r.Name())
	if err != nil {
		return err
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	return errors.Join(z.SyncPool(ctx, zfs.PoolOf(dataset)), z.Close())
}

// syncFileSystem waits until the data-root's file system has everything on disk.
func (r *dataRoot) syncFileSystem() error {
	dir, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

// moveOnce renames, unless that was done already. What is at neither place is lost.
// Where something is at both, the one in which empty finds nothing is what a
// start of dockerd in between has made.
func (r *dataRoot) moveOnce(from, to string, empty func(name string) (bool, error)) error {
	here, err := r.exists(from)
	if err != nil {
		return err
	}
	there, err := r.exists(to)
	if err != nil {
		return err
	}
	switch {
	case !here && !there:
		return fault.New(fault.NotFound, "neither %s nor %s is in %s: somebody moved it away", from, to, r.Name())
	case !here:
		return nil
	case there:
		spare, err := r.findSpare(from, to, empty)
		if err != nil {
			return err
		}
		if err := r.RemoveAll(spare); err != nil || spare == from {
			return err
		}
	}
	if err := r.MkdirAll(path.Dir(to), 0o710); err != nil {
		return err
	}
	return r.renameDurably(from, to)
}

// findSpare is the one of two that holds nothing.
func (r *dataRoot) findSpare(from, to string, empty func(name string) (bool, error)) (string, error) {
	for _, name := range []string{from, to} {
		if ok, err := empty(name); err != nil || ok {
			return name, err
		}
	}
	return "", fault.New(fault.Exists, "both %s and %s are in %s, and both hold something: dockerd was started in the middle of a migration; move away what is not wanted", from, to, r.Name())
}

// listNames lists a directory; nothing for one that is not there.
func (r *dataRoot) listNames(dir string) ([]string, error) {
	entries, err := fs.ReadDir(r.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

// copyTree copies a directory of plain files, Docker's records, and waits until
// they are on disk.
func (r *dataRoot) copyTree(from, to string) error {
	if err := r.copyFiles(from, to); err != nil {
		return err
	}
	dir, err := r.Open(to)
	if err != nil {
		return err
	}
	return errors.Join(fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

func (r *dataRoot) copyFiles(from, to string) error {
	return fs.WalkDir(r.FS(), from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := to + name[len(from):]
		switch {
		case entry.IsDir():
			return r.Mkdir(target, info.Mode().Perm())
		case entry.Type().IsRegular():
			return r.copyFile(name, target, info.Mode().Perm())
		}
		return fault.New(fault.UnsafeInput, "%s is no regular file", path.Join(r.Name(), name))
	})
}

func (r *dataRoot) copyFile(from, to string, mode fs.FileMode) error {
	in, err := r.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := r.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
