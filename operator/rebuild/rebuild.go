package rebuild

import (
	"errors"
	"io"
	"os"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Record is what makes the tar again: dockerstore.TarSplit.
type Record interface {
	WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error
}

// Difference is a layer whose files do not give the tar that Docker recorded.
type Difference struct{ Err error }

func (d Difference) Error() string { return d.Err.Error() }

// Unwrap returns the cause.
func (d Difference) Unwrap() error { return d.Err }

// Unproven is trouble with Docker's record, and not with the layer.
type Unproven struct{ Err error }

func (u Unproven) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u Unproven) Unwrap() error { return u.Err }

// WriteTar writes the tar of a layer, whose directory is given. Only when it has come to
// its end without an error is what was written the recorded tar.
func WriteTar(w io.Writer, r Record, layer *os.File, want digest.Digest) error {
	digester := digest.SHA256.Digester()
	out := &sink{Writer: io.MultiWriter(digester.Hash(), w)}
	found := newFileFinder(layer)
	defer found.Forget()
	if err := r.WriteTar(out, found.openContent); err != nil {
		return out.classify(err)
	}
	if got := digester.Digest(); got != want {
		return Difference{fault.New(fault.Invalid, "its tar has the digest %s", got)}
	}
	return nil
}

// sink remembers that it failed: then neither layer nor record is at fault.
type sink struct {
	io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// classify says whose fault an error is. tar-split has a checksum of each file, and
// no type for the error of one that is not the recorded one.
func (s *sink) classify(err error) error {
	var difference Difference
	var unproven Unproven
	var damage dockerstore.Damage
	var errno unix.Errno
	switch {
	case s.err != nil:
		return s.err
	case errors.As(err, &damage):
		return Unproven{err}
	case errors.As(err, &difference), errors.As(err, &unproven), errors.As(err, &errno):
		return err
	}
	return Difference{fault.New(fault.Invalid, "%w", err)}
}
