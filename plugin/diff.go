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

// headSize is how much of a Diff is read before the first byte is sent: a tar
// that fails within it is a plain error, one that ends within it is known to be
// whole and gets a length.
const headSize = 64 << 10

var heads = sync.Pool{New: func() any { return new([headSize]byte) }}

// restSize is how much of what follows goes out at once: what the packer writes
// at once. Each piece is a chunk of the answer, and wakes the engine twice.
const restSize = 128 << 10

var rests = sync.Pool{New: func() any { return new([restSize]byte) }}

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
	s, err := c.server.keeper.acquire(c.ctx)
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

// stream sends src. An error after the first byte leaves c.started set.
func (c *call) stream(src *closeOnce) (err error) {
	defer func() { err = errors.Join(err, src.Close()) }() // also when src panics
	head := heads.Get().(*[headSize]byte)
	defer heads.Put(head)
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
		return hungUp(err)
	}
	return c.copyRest(src)
}

// copyRest sends what follows the head; only a stream that ended and closed
// without complaint may end the answer.
func (c *call) copyRest(src *closeOnce) error {
	rest := rests.Get().(*[restSize]byte)
	defer rests.Put(rest)
	// As a mere Writer: the response's own ReadFrom would use smaller pieces.
	if _, err := io.CopyBuffer(struct{ io.Writer }{c.w}, struct{ io.Reader }{src}, rest[:]); err != nil {
		return fmt.Errorf("the stream broke: %w", err)
	}
	return src.Close()
}

func hungUp(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the engine took no more: %w", err)
}

// fill reads until buf is full or r ends, and reports which. It is not
// io.ReadFull, which calls both a short stream and one that was cut
// io.ErrUnexpectedEOF.
func fill(r io.Reader, buf []byte) (n int, whole bool, err error) {
	const patience = 100 // reads in a row that bring nothing
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

// closeOnce closes its source once and keeps the outcome.
type closeOnce struct {
	io.ReadCloser
	once sync.Once
	err  error
}

// Close is io.Closer's.
func (c *closeOnce) Close() error {
	c.once.Do(func() { c.err = c.ReadCloser.Close() })
	return c.err
}
