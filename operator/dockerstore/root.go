package dockerstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Bounds of the files that are read at once. Real ones are far smaller.
const (
	maxLine = 4 << 10  // files that hold one ID or number
	maxJSON = 32 << 20 // files that hold JSON
)

// Root is an engine's data-root.
type Root struct {
	root *os.Root
	dir  string
}

// Open opens the data-root dir. Close it when done.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s does not exist: name Docker's data-root with --root", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Root{root, dir}, nil
}

// OpenRoot opens the data-root that an os.Root has open already. Close it when done; the
// os.Root stays open.
func OpenRoot(root *os.Root) (*Root, error) {
	own, err := root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	return &Root{own, root.Name()}, nil
}

// Close closes the data-root.
func (r *Root) Close() error { return r.root.Close() }

// Dir returns the path of the data-root.
func (r *Root) Dir() string { return r.dir }

// list reads a directory, sorted by name.
func (r *Root) list(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(r.root.FS(), name)
}

// open opens a regular file. It refuses a fifo or device without waiting for it.
func (r *Root) open(name string) (*os.File, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fault.New(fault.UnsafeInput, "%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readFile returns the content of a file, and fails for one longer than limit bytes.
func (r *Root) readFile(name string, limit int64) ([]byte, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fault.New(fault.UnsafeInput, "the file is longer than %d bytes", limit)
	}
	return raw, nil
}

// readLine returns the only line of a file, or "" when the file is missing and optional.
func (r *Root) readLine(name string, optional bool) (string, error) {
	raw, err := r.readFile(name, maxLine)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path.Base(name), err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// exists reports whether a file may exist. An error other than ENOENT counts as yes.
func (r *Root) exists(name string) bool {
	_, err := r.root.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
