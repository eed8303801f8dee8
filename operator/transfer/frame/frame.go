// Package frame is the frame of the streams that `overlayzfs send` writes:
//
//	"overlayzfs-send\n"  uint32 version  uint32 length  header, JSON
//	uint32 length  a part of the content  checksum    repeated for each part
//	uint32 0  checksum
//
// Numbers are little-endian. A checksum is the SHA-256 of everything before it except the
// other checksums. The version says what the content is. Reader returns a part only when its
// checksum is right, and fails for a stream without its end.
package frame

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The versions of streams.
const (
	Dataset = 1 // a ZFS stream, package transfer
	Images  = 2 // containerd's images, package images
)

const (
	magic     = "overlayzfs-send\n"
	maxHeader = 64 << 10
	maxPart   = 1 << 20
)

var (
	errShort   = fault.New(fault.Invalid, "the stream ends too early: send it again")
	errDamaged = fault.New(fault.Invalid, "the stream is damaged, its checksum is wrong: send it again")
)

var le = binary.LittleEndian

// Writer writes a stream. The caller writes the content to it.
type Writer struct {
	parts *bufio.Writer
	end   partWriter
}

// NewWriter begins a stream of a version. It encodes the header as JSON.
func NewWriter(w io.Writer, version uint32, header any) (*Writer, error) {
	raw, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxHeader {
		return nil, fault.New(fault.Invalid, "the stream's header has %d bytes, more than %d", len(raw), maxHeader)
	}
	sum := sha256.New()
	end := partWriter{w, sum, io.MultiWriter(w, sum)}
	lead := append([]byte(magic), 0, 0, 0, 0, 0, 0, 0, 0)
	le.PutUint32(lead[len(magic):], version)
	le.PutUint32(lead[len(magic)+4:], uint32(len(raw)))
	_, err = end.summed.Write(append(lead, raw...))
	return &Writer{bufio.NewWriterSize(end, maxPart), end}, err
}

// Write adds bytes of the content.
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

// Reader reads a stream. The caller reads the content from it.
type Reader struct {
	Version uint32
	Header  []byte // not checked by a checksum before the first Read

	r       io.Reader // the stream
	sum     hash.Hash
	summed  io.Reader // the stream, counted in sum
	pending []byte    // checked and not read yet
	ended   bool
}

// NewReader reads the header of a stream.
func NewReader(r io.Reader) (*Reader, error) {
	s := &Reader{r: r, sum: sha256.New()}
	s.summed = io.TeeReader(r, s.sum)
	var lead [len(magic) + 8]byte
	if _, err := io.ReadFull(s.summed, lead[:]); err != nil || string(lead[:len(magic)]) != magic {
		return nil, fault.New(fault.Invalid, "the input is not a stream of `overlayzfs send`")
	}
	if s.Version = le.Uint32(lead[len(magic):]); s.Version != Dataset && s.Version != Images {
		return nil, fault.New(fault.Unsupported, "the stream has version %d, and this overlayzfs supports versions %d and %d: use the overlayzfs that wrote it", s.Version, Dataset, Images)
	}
	n := le.Uint32(lead[len(magic)+4:])
	if n > maxHeader {
		return nil, fault.New(fault.UnsafeInput, "the stream's header has %d bytes, more than %d", n, maxHeader)
	}
	s.Header = make([]byte, n)
	if _, err := io.ReadFull(s.summed, s.Header); err != nil {
		return nil, explainEarlyEnd(err)
	}
	return s, nil
}

// DecodeHeader decodes the header.
func (s *Reader) DecodeHeader(header any) error {
	if err := json.Unmarshal(s.Header, header); err != nil {
		return fault.New(fault.Invalid, "the stream's header is damaged: %w", err)
	}
	return nil
}

// Read returns the content, as far as its checksums are right. It reads nothing beyond the
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
