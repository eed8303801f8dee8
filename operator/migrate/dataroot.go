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

// dataRoot is Docker's data-root, opened for changes. Names are relative to it and cannot
// lead out of it.
type dataRoot struct {
	*os.Root
}

// openDataRoot opens the data-root by its real path, which the mount table has as well.
func openDataRoot(dir string) (*dataRoot, error) {
	real, err := filepath.EvalSymlinks(dir)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(real)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s does not exist: name Docker's data-root with --root", dir)
	}
	if err != nil {
		return nil, err
	}
	return &dataRoot{root}, nil
}

// exists reports whether a file or directory has that name.
func (r *dataRoot) exists(name string) (bool, error) {
	_, err := r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// isSymlink reports whether a name is a symlink. A missing one is none.
func (r *dataRoot) isSymlink(name string) (bool, error) {
	info, err := r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().Type() == fs.ModeSymlink, err
}

// writeFile replaces a file in one step, durably.
func (r *dataRoot) writeFile(name string, data []byte, mode fs.FileMode) error {
	return atomicfile.Replace(name, data, atomicfile.Options{
		Mode: mode, Durability: atomicfile.ContentAndName, Suffix: ".overlayzfs", Root: r.Root,
		Prepare: func(f *os.File) error { return f.Chmod(mode) },
	})
}

// renameDurably renames a file or directory and waits until the rename is on disk.
func (r *dataRoot) renameDurably(from, to string) error {
	if err := r.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(r.syncDir(path.Dir(from)), r.syncDir(path.Dir(to)))
}

// syncDir waits until a directory's entries are on disk.
func (r *dataRoot) syncDir(dir string) error {
	f, err := r.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncStorage waits until everything written to the data-root is on disk. fsync(2) is
// not enough: on ZFS it does nothing with sync=disabled, on btrfs it does not cover
// earlier removals, and the next change may be on another pool.
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

// syncFileSystem waits until the data-root's file system has written everything.
func (r *dataRoot) syncFileSystem() error {
	dir, err := r.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

// moveOnce renames from to to, unless that was done already. When both exist, dockerd was
// started in between and created one of them; the one for which isEmpty is true goes.
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
		return fault.New(fault.NotFound, "neither %s nor %s exists in %s: it was moved away; move it back", from, to, r.Name())
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

// findSpare returns which of two directories is empty.
func (r *dataRoot) findSpare(from, to string, empty func(name string) (bool, error)) (string, error) {
	for _, name := range []string{from, to} {
		if ok, err := empty(name); err != nil || ok {
			return name, err
		}
	}
	return "", fault.New(fault.Exists, "both %s and %s in %s have content: dockerd was started during the migration; move the unwanted one away", from, to, r.Name())
}

// listNames lists a directory. A missing directory has no names.
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

// syncTree waits until everything written to a directory's file system is on disk.
func (r *dataRoot) syncTree(name string) error {
	dir, err := r.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

// copyFiles copies a directory of regular files.
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
		return fault.New(fault.UnsafeInput, "%s is not a regular file: remove it", path.Join(r.Name(), name))
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
