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
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// maxRecords bounds the sum of all copies. A sparse file takes no space before it is
// copied.
const maxRecords = 16 << 30

// Mirror makes the directory dir below to contain exactly the named files, with the
// content that open returns. Unchanged files are not written again, so that they take no
// space in an incremental stream. After an interruption Mirror can be repeated.
func Mirror(to *os.Root, dir string, names []string, open func(name string) (*os.File, error)) error {
	left := int64(maxRecords)
	for _, name := range names {
		n, err := copyFile(to, dir, name, left, open)
		if err != nil {
			return err
		}
		left -= n
	}
	return prune(to, dir, names)
}

// copyFile copies a file unless the target has the same content. It returns the file's
// length, and fails when that exceeds left.
func copyFile(to *os.Root, dir, name string, left int64, open func(string) (*os.File, error)) (int64, error) {
	from, err := open(name)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	info, err := checkRecordFile(from, min(dockerstore.MaxRecordSize(name), left))
	if err != nil {
		return 0, err
	}
	name = path.Join(dir, name)
	if has, err := hasContent(to, name, from, info.Size()); has || err != nil {
		return info.Size(), err
	}
	if err := errors.Join(to.MkdirAll(path.Dir(name), 0o700), to.RemoveAll(name)); err != nil {
		return 0, err
	}
	out, err := to.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	_, err = io.CopyN(out, from, info.Size()) // bytes appended meanwhile were not checked
	return info.Size(), errors.Join(err, out.Close())
}

// checkRecordFile fails for a file that Docker cannot have written.
func checkRecordFile(f *os.File, longest int64) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > longest) {
		err = fault.New(fault.UnsafeInput, "%s is not a regular file, or longer than any record of Docker", f.Name())
	}
	return info, err
}

// hasContent reports whether a file exists with the same content as want.
func hasContent(to *os.Root, name string, want *os.File, size int64) (bool, error) {
	info, err := to.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	has, err := to.Open(name)
	if err != nil {
		return false, err
	}
	defer has.Close()
	return haveSameContent(has, io.NewSectionReader(want, 0, size))
}

// haveSameContent compares two streams block by block.
func haveSameContent(a, b io.Reader) (bool, error) {
	var of [2][64 << 10]byte
	for {
		n, errA := io.ReadFull(a, of[0][:])
		m, errB := io.ReadFull(b, of[1][:])
		if !bytes.Equal(of[0][:n], of[1][:m]) {
			return false, nil
		}
		if isEnd(errA) && isEnd(errB) {
			return true, nil
		}
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// prune removes all other files, and directories without a named file.
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
		return nil // no files were copied, so the directory does not exist
	}
	errs := []error{err}
	for _, name := range slices.Backward(extra) {
		errs = append(errs, root.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// syncTree makes a directory tree durable.
func syncTree(root *os.Root, dir string) error {
	return fs.WalkDir(root.FS(), dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncFile(root, name)
	})
}

func syncFile(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
