package migrate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// unpackImage makes an image layer's tar again, from Docker's record of it and the
// old layer's files, and unpacks it. Only when its digest is the recorded one
// does the stream end well, and only then is there a layer.
func (c *carrier) unpackImage(ctx context.Context, it item, layer *os.File) error {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out := bufio.NewWriterSize(w, 1<<20)
		err := c.writeTar(out, it, layer)
		if err == nil {
			err = out.Flush()
		}
		w.CloseWithError(err)
	}()
	_, err := c.store.ApplyDiff(ctx, it.id, it.parent, r)
	r.CloseWithError(errors.Join(io.ErrClosedPipe, err))
	<-ended
	return err
}

// writeTar makes an image layer's tar again, and compares its digest.
func (c *carrier) writeTar(w io.Writer, it item, layer *os.File) error {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return err
	}
	err = rebuild.WriteTar(io.MultiWriter(w, countingWriter(c.progress)), record, layer, it.image.Diff)
	return errors.Join(err, record.Close())
}

// countingWriter counts what is written to it.
type countingWriter func(n int64)

func (c countingWriter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}
