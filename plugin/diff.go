package plugin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/docker/go-plugins-helpers/sdk"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// headSize is how much of a Diff is read before the first byte is sent. A tar that fails
// within it is answered with a plain error. A tar that ends within it is whole, and gets a
// Content-Length.
const headSize = 64 << 10

var headBuffers = sync.Pool{New: func() any { return new([headSize]byte) }}

// copySize is how much of the rest is sent at once, as much as the packer writes at once.
// Each piece is a chunk of the answer and wakes the engine twice.
const copySize = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// diff streams a layer's tar.
func diff(c *call) error {
	q, err := decodeLayer(c.r.Body)
	c.layer = q.ID
	if err != nil {
		return err
	}
	if !c.r.ProtoAtLeast(1, 1) {
		return fault.New(fault.Unsupported, "HTTP/1.0 cannot tell a stream that was cut from a whole one")
	}
	s, err := c.server.driver.acquire(c.ctx)
	if err != nil {
		return err
	}
	defer s.release()
	src, err := s.driver.Diff(c.ctx, q.ID, q.Parent)
	if err != nil {
		return err
	}
	return c.stream(&closeOnce{ReadCloser: src})
}

// stream sends src. It sets c.started before the first byte is sent.
func (c *call) stream(src *closeOnce) (err error) {
	defer func() { err = errors.Join(err, src.Close()) }() // also when src panics
	head := headBuffers.Get().(*[headSize]byte)
	defer headBuffers.Put(head)
	n, whole, err := fill(src, head[:])
	if err != nil {
		return err
	}
	if whole {
		if err := src.Close(); err != nil {
			return err
		}
		c.w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	c.started = true
	c.w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	c.w.WriteHeader(http.StatusOK)
	if _, err := c.w.Write(head[:n]); err != nil || whole {
		return wrapWriteError(err)
	}
	return c.copyRest(src)
}

// copyRest sends what follows the head. The answer ends only after the stream ended and
// closed without an error.
func (c *call) copyRest(src *closeOnce) error {
	rest := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(rest)
	// The response's own ReadFrom would send smaller pieces, so it is hidden.
	if _, err := io.CopyBuffer(struct{ io.Writer }{c.w}, struct{ io.Reader }{src}, rest[:]); err != nil {
		return fmt.Errorf("the stream broke: %w", err)
	}
	return src.Close()
}

func wrapWriteError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the engine took no more: %w", err)
}

// fill reads until buf is full or r ends, and reports whether r ended. io.ReadFull does not
// serve: it returns io.ErrUnexpectedEOF for a short stream and for one that was cut.
func fill(r io.Reader, buf []byte) (n int, whole bool, err error) {
	const patience = 100 // reads in a row that return nothing
	for empty := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if empty++; m > 0 {
			empty = 0
		}
		if empty == patience {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}

// closeOnce closes its source once and returns the same outcome each time.
type closeOnce struct {
	io.ReadCloser
	once sync.Once
	err  error
}

// Close implements io.Closer.
func (c *closeOnce) Close() error {
	c.once.Do(func() { c.err = c.ReadCloser.Close() })
	return c.err
}
