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

// Bounds of what is read at once. Real ones are far smaller.
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
		return nil, fault.New(fault.NotFound, "%s is not there: name Docker's data-root", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Root{root, dir}, nil
}

// OpenRoot is a data-root that is open already. Close it when done; what it is in stays
// open.
func OpenRoot(root *os.Root) (*Root, error) {
	own, err := root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	return &Root{own, root.Name()}, nil
}

// Close gives the directory up.
func (r *Root) Close() error { return r.root.Close() }

// Dir is where the data-root is.
func (r *Root) Dir() string { return r.dir }

// list reads a directory, in the order of names.
func (r *Root) list(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(r.root.FS(), name)
}

// open opens a regular file; a fifo or device in its place is neither waited
// for nor read.
func (r *Root) open(name string) (*os.File, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fault.New(fault.UnsafeInput, "%s is no regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readFile returns a file of at most limit bytes.
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
		return nil, fault.New(fault.UnsafeInput, "it is longer than %d bytes", limit)
	}
	return raw, nil
}

// readLine returns the one line of a file, or "" when there is no file and optional
// is set.
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

// exists reports whether there may be something of that name: what cannot be
// looked at is not gone.
func (r *Root) exists(name string) bool {
	_, err := r.root.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
