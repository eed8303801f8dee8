package layers

import (
	"archive/tar"
	"io"
	"math/rand/v2"
	"time"
)

// modified is the time of every file, in whole seconds. Layers of images have no PAX
// headers for nanoseconds.
var modified = time.Unix(1_700_000_000, 0)

// WriteTo writes the layer's tar.
func (s Shape) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	archive := tar.NewWriter(counted)
	content := newContent(s.newRandom())
	err := s.forEachHeader(func(h *tar.Header) error {
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		return content.write(archive, h.Size)
	})
	if err == nil {
		err = archive.Close()
	}
	return counted.n, err
}

// Open returns the layer's tar, which is made while it is read. It may be closed early.
func (s Shape) Open() io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := s.WriteTo(w)
		w.CloseWithError(err) //nolint:errcheck // it never fails
	}()
	return r
}

// counter counts the bytes written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// contentSource writes the content of files: each page half noise and half zeros, from
// one block that is written from random offsets.
type contentSource struct {
	random *rand.Rand
	block  []byte
}

const (
	blockSize = 1 << 20
	pageSize  = 4096
)

func newContent(random *rand.Rand) *contentSource {
	c := &contentSource{random, make([]byte, blockSize)}
	for i := range c.block {
		if i%pageSize < pageSize/2 {
			c.block[i] = byte(random.Uint32())
		}
	}
	return c
}

func (c *contentSource) write(w io.Writer, size int64) error {
	for size > 0 {
		at := c.random.IntN(blockSize / 2)
		n := min(size, int64(blockSize-at))
		if _, err := w.Write(c.block[at : at+int(n)]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
