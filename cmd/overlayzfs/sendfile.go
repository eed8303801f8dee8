package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// parcel is where a stream is written to. A file gets its name when it is whole.
type parcel struct {
	w       io.Writer
	written int64
	file    *os.File // nil for standard output
	name    string
}

// target opens it.
func (f *sendFlags) target(c console) (*parcel, error) {
	if f.file == "-" {
		return &parcel{w: c.out}, nil
	}
	file, err := os.CreateTemp(filepath.Dir(f.file), "."+filepath.Base(f.file)+"-")
	if err != nil {
		return nil, fmt.Errorf("the file for the stream: %w", err)
	}
	return &parcel{w: file, file: file, name: f.file}, nil
}

// requireFree makes sure that nothing has the file's name yet, before anything is
// done: nothing is overwritten in the end either.
func (f *sendFlags) requireFree() error {
	if f.file == "-" {
		return nil
	}
	if _, err := os.Lstat(f.file); err == nil {
		return fault.New(fault.Exists, "%s exists, and is not overwritten", f.file)
	}
	return nil
}

// Write counts.
func (p *parcel) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.written += int64(n)
	return n, err
}

// keep makes what was written durable; it is whole.
func (p *parcel) keep() error {
	if p.file == nil {
		return nil
	}
	return p.file.Sync()
}

// deliver gives the file its name, unless that is taken. If it cannot, the stream
// is not thrown away that took hours: it stays under the name it has.
func (p *parcel) deliver() error {
	if p.file == nil {
		return nil
	}
	dir, err := os.Open(filepath.Dir(p.name))
	if err == nil {
		err = errors.Join(nameNew(int(dir.Fd()), filepath.Base(p.file.Name()), filepath.Base(p.name)), syncDir(dir), dir.Close())
	}
	if err := errors.Join(err, p.file.Close()); err != nil {
		return fmt.Errorf("the stream is whole, and is %s: it could not be named %s: %w", p.file.Name(), p.name, err)
	}
	return nil
}

// nameNew renames a file in a directory. Where the file system cannot do so without
// replacing, a second name can; exFAT and vfat have none.
func nameNew(dir int, from, to string) error {
	err := fsat.RenameNoReplace(dir, from, dir, to)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := fsat.Link(dir, from, dir, to); err != nil {
		return err
	}
	return fsat.Unlink(dir, from)
}

// syncDir makes names durable, where a file system knows how.
func syncDir(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// drop removes what was written.
func (p *parcel) drop() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Close(), os.Remove(p.file.Name()))
}
