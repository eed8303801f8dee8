package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
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
	if _, err := os.Lstat(f.file); err == nil {
		return nil, fault.New(fault.Exists, "%s exists, and is not overwritten", f.file)
	}
	file, err := os.CreateTemp(filepath.Dir(f.file), "."+filepath.Base(f.file)+"-")
	if err != nil {
		return nil, fmt.Errorf("the file for the stream: %w", err)
	}
	return &parcel{w: file, file: file, name: f.file}, nil
}

// Write counts.
func (p *parcel) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.written += int64(n)
	return n, err
}

// keep makes the file durable and gives it its name, unless that is taken.
func (p *parcel) keep() error {
	if p.file == nil {
		return nil
	}
	err := errors.Join(p.file.Sync(), p.file.Close())
	if err == nil {
		err = os.Link(p.file.Name(), p.name)
	}
	return errors.Join(err, os.Remove(p.file.Name()))
}

// drop removes what was written.
func (p *parcel) drop() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Close(), os.Remove(p.file.Name()))
}
