package transfer

import (
	"errors"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// NewWriter begins a stream. The caller writes the ZFS stream to it.
func NewWriter(w io.Writer, h Header) (*frame.Writer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return frame.NewWriter(w, frame.Dataset, h)
}

// Reader reads a stream. The caller reads the ZFS stream from it, without its first
// record.
type Reader struct {
	Header Header
	Begin  zfs.Begin // the first record

	frame *frame.Reader
}

// NewReader reads the header and the first record of a stream.
func NewReader(r io.Reader) (*Reader, error) {
	f, err := frame.NewReader(r)
	if err != nil {
		return nil, err
	}
	return NewReaderOf(f)
}

// NewReaderOf is NewReader for a stream whose frame is open already.
func NewReaderOf(f *frame.Reader) (*Reader, error) {
	if f.Version != frame.Dataset {
		return nil, fault.New(fault.Unsupported, "the stream holds containerd's images, not a store of Docker's")
	}
	s := &Reader{frame: f}
	err := f.DecodeHeader(&s.Header)
	if err == nil {
		err = s.Header.check()
	}
	if err != nil {
		return nil, err
	}
	begin := make([]byte, zfs.BeginSize)
	n, err := io.ReadFull(f, begin)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if s.Begin, err = zfs.ParseBegin(begin[:n]); err != nil {
		return nil, err
	}
	if s.Begin.ToGUID != s.Header.GUID || s.Begin.FromGUID != s.Header.FromGUID || s.Begin.Type != zfs.Filesystem {
		return nil, fault.New(fault.Invalid, "the stream's header does not match its content")
	}
	return s, nil
}

// Read returns the ZFS stream, as far as its checksums are right. It reads nothing beyond the
// stream's end.
func (s *Reader) Read(p []byte) (n int, err error) { return s.frame.Read(p) }
