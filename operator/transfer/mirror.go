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

// maxRecords bounds all that is copied: a file's length can be made up, and takes
// no space until it is copied.
const maxRecords = 16 << 30

// Mirror makes the directory dir below to hold exactly the files of those names,
// with the content that open gives. What is there already is not written again, so
// that it takes no space in a stream of what has changed. It can end at any
// instruction, and is put right by doing it again.
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

// copyFile copies a file that is not there yet as it should be, and returns its
// length, which is no more than is left.
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
	if err := errors.Join(to.MkdirAll(path.Dir(name), 0o700), ignoreMissing(to.RemoveAll(name))); err != nil {
		return 0, err
	}
	out, err := to.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	_, err = io.CopyN(out, from, info.Size()) // what is appended meanwhile was not looked at
	return info.Size(), errors.Join(err, out.Close())
}

// checkRecordFile makes sure that a file is one that Docker could have written.
func checkRecordFile(f *os.File, longest int64) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > longest) {
		err = fault.New(fault.UnsafeInput, "%s is no record of Docker, or too long for one", f.Name())
	}
	return info, err
}

// hasContent reports whether a file is there with the content that another has.
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

// haveSameContent compares two contents, piece by piece.
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
