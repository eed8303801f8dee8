package verify

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// Record is Docker's record of a layer's tar. dockerstore.TarSplit is one.
type Record interface {
	rebuild.Record
	ReadEntries(yield func(dockerstore.TarEntry) error) error
}

// CompareLayer compares a layer with Docker's record of it and the digest of its tar. The
// error's type says what is at fault, as in package rebuild.
func CompareLayer(ctx context.Context, r Record, layer treestack.Layer, want digest.Digest) (Proof, error) {
	return comparison{ctx, layer, nil}.run(r, want)
}

// FindLoss returns why a layer's tar cannot be made again from the record, or unpacked into
// the layer alone, or "". It looks at nothing but the record.
func FindLoss(r Record) string {
	named := newEntries()
	if err := r.ReadEntries(named.add); err != nil {
		return err.Error()
	}
	if named.lost != "" {
		return named.lost
	}
	for _, e := range named.sortedEntries() {
		if e.header.Typeflag == tar.TypeLink && named.findEntry(rebuild.CleanName(e.header.Linkname)) == nil {
			return fmt.Sprintf("the tar has a hard link to a file of a layer below (%.200q)", e.name)
		}
	}
	return ""
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
func (c comparison) run(r Record, want digest.Digest) (Proof, error) {
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
