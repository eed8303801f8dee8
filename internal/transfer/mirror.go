package transfer

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// maxRecord bounds a record that is copied. The largest are those of the tars of
// layers with very many files.
const maxRecord = 1 << 30

// Mirror makes the directory dir below to hold exactly the files of those names,
// with the content that open gives. What is there already is not written again, so
// that it takes no space in a stream of what has changed. It can end at any
// instruction, and is put right by doing it again.
func Mirror(to *os.Root, dir string, names []string, open func(name string) (*os.File, error)) error {
	for _, name := range names {
		if err := copyFile(to, path.Join(dir, name), func() (*os.File, error) { return open(name) }); err != nil {
			return err
		}
	}
	return prune(to, dir, names)
}

func copyFile(to *os.Root, name string, open func() (*os.File, error)) error {
	content, mode, err := contentOf(open)
	if err != nil {
		return err
	}
	old, _, err := contentOf(func() (*os.File, error) { return to.Open(name) })
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := errors.Join(to.MkdirAll(path.Dir(name), 0o700), ignoreMissing(to.RemoveAll(name))); err != nil {
		return err
	}
	return to.WriteFile(name, content, mode)
}

func contentOf(open func() (*os.File, error)) (content []byte, mode fs.FileMode, err error) {
	f, err := open()
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecord {
		return nil, 0, fault.New(fault.UnsafeInput, "%s is no record of Docker", f.Name())
	}
	content, err = io.ReadAll(io.LimitReader(f, maxRecord))
	return content, info.Mode().Perm(), err
}

// prune removes what is not one of the files, and directories without any.
func prune(root *os.Root, dir string, names []string) error {
	keep := map[string]bool{dir: true}
	for _, name := range names {
		for p := path.Join(dir, name); p != dir && p != "."; p = path.Dir(p) {
			keep[p] = true
		}
	}
	var extra []string
	err := fs.WalkDir(root.FS(), dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || keep[name] {
			return err
		}
		extra = append(extra, name)
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was to be copied, and nothing is there
	}
	errs := []error{err}
	for _, name := range slices.Backward(extra) {
		errs = append(errs, root.RemoveAll(name))
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncTree makes a directory and all below it durable.
func syncTree(root *os.Root, dir string) error {
	return fs.WalkDir(root.FS(), dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncOne(root, name)
	})
}

func syncOne(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
