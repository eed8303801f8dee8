package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

var (
	errShort   = fault.New(fault.Invalid, "the stream ends too early: send it again")
	errDamaged = fault.New(fault.Invalid, "the stream is damaged, its checksum is wrong: send it again")
)

// Writer writes a stream. The caller writes the ZFS stream to it.
type Writer struct {
	parts *bufio.Writer
	end   partWriter
}

// NewWriter begins a stream.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	sum := sha256.New()
	end := partWriter{w, sum, io.MultiWriter(w, sum)}
	return &Writer{bufio.NewWriterSize(end, maxPart), end}, h.write(end.summed)
}

// Write adds bytes of the ZFS stream.
func (s *Writer) Write(p []byte) (int, error) { return s.parts.Write(p) }

// Close ends the stream.
func (s *Writer) Close() error {
	if err := s.parts.Flush(); err != nil {
		return err
	}
	return s.end.writePart(nil)
}

// partWriter splits its input into parts with checksums.
type partWriter struct {
	w      io.Writer // the stream
	sum    hash.Hash
	summed io.Writer // the stream, counted in sum
}

func (p partWriter) Write(all []byte) (int, error) {
	for rest := all; len(rest) > 0; {
		part := rest[:min(len(rest), maxPart)]
		rest = rest[len(part):]
		if err := p.writePart(part); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

func (p partWriter) writePart(part []byte) error {
	if _, err := p.summed.Write(le.AppendUint32(nil, uint32(len(part)))); err != nil {
		return err
	}
	if _, err := p.summed.Write(part); err != nil {
		return err
	}
	_, err := p.w.Write(p.sum.Sum(nil))
	return err
}

// Reader reads a stream. The caller reads the ZFS stream from it, without its first
// record.
type Reader struct {
	Header Header
	Begin  zfs.Begin // the first record

	r       io.Reader // the stream
	sum     hash.Hash
	summed  io.Reader // the stream, counted in sum
	pending []byte    // checked and not read yet
	ended   bool
}

// NewReader reads the header and the first part of a stream.
func NewReader(r io.Reader) (*Reader, error) {
	s := &Reader{r: r, sum: sha256.New()}
	s.summed = io.TeeReader(r, s.sum)
	h, err := readHeader(s.summed)
	if err != nil {
		return nil, err
	}
	if s.pending, err = s.readPart(); err != nil {
		return nil, err
	}
	if s.Begin, err = zfs.ParseBegin(s.pending); err != nil {
		return nil, err
	}
	if s.Begin.ToGUID != h.GUID || s.Begin.FromGUID != h.FromGUID || s.Begin.Type != zfs.Filesystem {
		return nil, fault.New(fault.Invalid, "the stream's header does not match its content")
	}
	s.Header, s.pending = h, s.pending[zfs.BeginSize:]
	return s, nil
}

// Read returns the ZFS stream, as far as its checksums are right. It reads nothing beyond the
// stream's end.
func (s *Reader) Read(p []byte) (n int, err error) {
	for len(s.pending) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if s.pending, err = s.readPart(); err != nil {
			return 0, err
		}
		s.ended = s.pending == nil
	}
	n = copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// readPart reads a part, or returns nil at the end.
func (s *Reader) readPart() (part []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(s.summed, size[:]); err != nil {
		return nil, explainEarlyEnd(err)
	}
	n := le.Uint32(size[:])
	if n > maxPart {
		return nil, fault.New(fault.UnsafeInput, "the stream is damaged: it has a part of %d bytes", n)
	}
	if n > 0 {
		part = make([]byte, n)
	}
	if _, err := io.ReadFull(s.summed, part); err != nil {
		return nil, explainEarlyEnd(err)
	}
	return part, s.checkSum()
}

// checkSum reads a checksum and compares it.
func (s *Reader) checkSum() error {
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.r, got); err != nil {
		return explainEarlyEnd(err)
	}
	if !bytes.Equal(got, s.sum.Sum(nil)) {
		return errDamaged
	}
	return nil
}

// explainEarlyEnd replaces an unexpected end of the input by errShort.
func explainEarlyEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShort
	}
	return err
}
