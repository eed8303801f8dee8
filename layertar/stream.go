package layertar

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// bufferSize is how much content one read or write moves: whole records for every common
// recordsize.
const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// headerBuffer gathers headers and small files into one read or write.
const headerBuffer = 128 << 10

// stream is a layer's tar as it comes in. A Read fails once ctx has ended.
type stream struct {
	ctx context.Context
	r   io.Reader
}

// Read reads from the tar unless ctx has ended.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// drain reads what follows the archive, so that the sender can finish. It may be anything.
func drain(buffered *bufio.Reader) error {
	_, err := io.Copy(io.Discard, buffered)
	return err
}

// classifyRead gives an error of archive/tar a class.
func classifyRead(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.New(fault.UnsafeInput, "the stream is truncated: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return fault.New(fault.UnsafeInput, "the stream is no sound tar: %w", err)
	}
	return err
}

// unwrapErrno returns the errno below err, or 0.
func unwrapErrno(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return 0
}
