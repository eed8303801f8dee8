package send

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

// Output takes a stream: a file, or standard output. A file gets its name when the
// stream is complete.
type Output struct {
	w       io.Writer
	written int64
	file    *os.File // nil for standard output
	name    string
}

// NewOutput opens a temporary file beside name, or takes stdout if name is "-".
func NewOutput(name string, stdout io.Writer) (*Output, error) {
	if name == "-" {
		return &Output{w: stdout}, nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return nil, fmt.Errorf("create the file for the stream: %w", err)
	}
	return &Output{w: file, file: file, name: name}, nil
}

// CheckFree fails with fault.Exists if a file has the name. Sending takes hours, so
// the caller asks first; Name does not overwrite a file either.
func CheckFree(name string) error {
	if name == "-" {
		return nil
	}
	if _, err := os.Lstat(name); err == nil {
		return fault.New(fault.Exists, "%s exists, and is not overwritten", name)
	}
	return nil
}

// Write writes and counts.
func (o *Output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.written += int64(n)
	return n, err
}

// Written returns how many bytes were written.
func (o *Output) Written() int64 { return o.written }

// Sync makes the complete stream durable.
func (o *Output) Sync() error {
	if o.file == nil {
		return nil
	}
	return o.file.Sync()
}

// Name gives the file its name, unless another file has it. On failure the stream
// stays under its temporary name, which the error says: it took hours.
func (o *Output) Name() error {
	if o.file == nil {
		return nil
	}
	dir, err := os.Open(filepath.Dir(o.name))
	if err == nil {
		err = errors.Join(renameNew(int(dir.Fd()), filepath.Base(o.file.Name()), filepath.Base(o.name)), syncDir(dir), dir.Close())
	}
	if err := errors.Join(err, o.file.Close()); err != nil {
		return fmt.Errorf("the stream is complete in %s, which could not be renamed to %s: %w", o.file.Name(), o.name, err)
	}
	return nil
}

// renameNew renames a file in a directory and replaces none. File systems without
// RENAME_NOREPLACE take a hard link instead; exFAT and vfat have neither.
func renameNew(dir int, from, to string) error {
	err := fsat.RenameNoReplace(dir, from, dir, to)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := fsat.Link(dir, from, dir, to); err != nil {
		return err
	}
	return fsat.Unlink(dir, from)
}

// syncDir makes names durable, where the file system can sync a directory.
func syncDir(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// Discard removes the incomplete file.
func (o *Output) Discard() error {
	if o.file == nil {
		return nil
	}
	return errors.Join(o.file.Close(), os.Remove(o.file.Name()))
}
