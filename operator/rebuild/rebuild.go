package rebuild

import (
	"errors"
	"io"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Record writes a tar from its record. dockerstore.TarSplit is one.
type Record interface {
	WriteTar(w io.Writer, get func(name string) (io.ReadCloser, error)) error
}

// Difference is the error of a layer whose files differ from the recorded tar.
type Difference struct{ Err error }

func (d Difference) Error() string { return d.Err.Error() }

// Unwrap returns the cause.
func (d Difference) Unwrap() error { return d.Err }

// Unproven is the error of a record that cannot be read; it proves nothing about the
// layer.
type Unproven struct{ Err error }

func (u Unproven) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u Unproven) Unwrap() error { return u.Err }

// WriteTar writes the tar of a layer from its files. The output is the recorded tar only
// when WriteTar returns nil.
func WriteTar(w io.Writer, r Record, layer treestack.Layer, want digest.Digest) (err error) {
	digester := digest.SHA256.Digester()
	out := &sink{Writer: io.MultiWriter(digester.Hash(), w)}
	opener := contentOpener{treestack.NewFinder(layer)}
	defer func() {
		if closeErr := opener.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := r.WriteTar(out, opener.openContent); err != nil {
		return out.classify(err)
	}
	if got := digester.Digest(); got != want {
		return Difference{fault.New(fault.Invalid, "the tar has the digest %s", got)}
	}
	return nil
}

// sink remembers an error of the output, which is neither the layer's fault nor the
// record's.
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

// classify returns the error as a Difference, Unproven or itself. tar-split checks a
// checksum of each file, but has no error type for a mismatch.
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
