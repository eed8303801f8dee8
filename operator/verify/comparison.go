package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// record is Docker's record of a layer's tar. dockerstore.TarSplit is one.
type record interface {
	rebuild.Record
	ReadEntries(yield func(dockerstore.TarEntry) error) error
}

// comparison compares one layer.
type comparison struct {
	ctx   context.Context
	layer treestack.Layer
	read  func(n int)
}

// run compares the tar's entries with the layer, and the files' content with the digest of
// the tar. When the record cannot give that tar again, it compares the content of each
// file with the record's checksum.
func (c comparison) run(r record, want digest.Digest) (Proof, error) {
	named := newEntries()
	if err := r.ReadEntries(named.add); err != nil {
		return "", rebuild.Unproven{Err: fmt.Errorf("the tar that Docker recorded: %w", err)}
	}
	reason := rebuild.WriteTar(countingWriter{c}, r, c.layer, want)
	if reason != nil && !isAboutTar(reason) {
		return "", reason
	}
	named.byChecksum = reason != nil
	if err := named.compare(c.ctx, c.layer); err != nil {
		return "", err
	}
	if reason == nil {
		return ByDigest, nil
	}
	if named.lost == "" {
		return "", rebuild.Unproven{Err: fmt.Errorf("each file is as recorded, but %w", reason)}
	}
	return ByChecksums, nil
}

// isAboutTar reports whether the files' checksums can tell what the error of WriteTar
// leaves open.
func isAboutTar(err error) bool {
	var damage dockerstore.Damage
	var difference rebuild.Difference
	var unproven rebuild.Unproven
	return !errors.As(err, &damage) && (errors.As(err, &difference) || errors.As(err, &unproven))
}

// countingWriter reports progress and fails once the caller's context is done.
type countingWriter struct{ c comparison }

var _ io.Writer = countingWriter{}

func (w countingWriter) Write(p []byte) (int, error) {
	if err := w.c.ctx.Err(); err != nil {
		return 0, err
	}
	if w.c.read != nil {
		w.c.read(len(p))
	}
	return len(p), nil
}
