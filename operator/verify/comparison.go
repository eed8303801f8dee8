package verify

import (
	"context"
	"fmt"
	"io"
	"os"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// comparison compares one layer.
type comparison struct {
	ctx  context.Context
	dir  *os.File // the layer's own content
	base bool     // no layer is below
	read func(n int)
}

// run rebuilds the tar and compares its digest, then compares the tar's entries with the
// layer.
func (c comparison) run(r rebuild.Record, want digest.Digest) error {
	pr, pw := io.Pipe()
	named := newEntries()
	parsed := make(chan error, 1)
	go func() {
		err := named.readAll(pr)
		if err != nil {
			err = rebuild.Unproven{Err: fmt.Errorf("the tar that Docker recorded: %w", err)}
			pr.CloseWithError(err)
		}
		parsed <- err
	}()
	err := rebuild.WriteTar(countingWriter{pw, c}, r, c.dir, want)
	pw.CloseWithError(err)
	if parseErr := <-parsed; err == nil {
		err = parseErr
	}
	if err != nil {
		return err
	}
	return named.compare(c.ctx, c.dir, c.base)
}

// countingWriter reports progress and fails once the caller's context is done.
type countingWriter struct {
	io.Writer
	c comparison
}

func (w countingWriter) Write(p []byte) (int, error) {
	if err := w.c.ctx.Err(); err != nil {
		return 0, err
	}
	if w.c.read != nil {
		w.c.read(len(p))
	}
	return w.Writer.Write(p)
}
