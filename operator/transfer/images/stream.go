package images

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
)

var (
	le       = binary.LittleEndian
	errShort = fault.New(fault.Invalid, "the stream has less content than its index says: send it again")
)

// Write writes a stream. open returns the content of a blob, which Write closes.
func Write(w io.Writer, x Index, now time.Time, open func(Blob) (io.ReadCloser, error)) error {
	h := x.Describe(now)
	if err := x.Check(h); err != nil {
		return err
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if len(raw) > maxIndex {
		return fault.New(fault.Unsupported, "the index of the images has %d bytes, more than %d: send the name spaces one after another", len(raw), maxIndex)
	}
	stream, err := frame.NewWriter(w, frame.Images, h)
	if err != nil {
		return err
	}
	if _, err := stream.Write(append(le.AppendUint32(nil, uint32(len(raw))), raw...)); err != nil {
		return err
	}
	for _, blob := range x.Blobs {
		if err := writeBlob(stream, blob, open); err != nil {
			return fmt.Errorf("blob %s: %w", blob.Digest, err)
		}
	}
	return stream.Close()
}

// writeBlob writes a blob, and proves its digest.
func writeBlob(w io.Writer, blob Blob, open func(Blob) (io.ReadCloser, error)) error {
	r, err := open(blob)
	if err != nil {
		return err
	}
	proof := blob.Digest.Verifier()
	n, err := io.Copy(w, io.TeeReader(io.LimitReader(r, blob.Size), proof))
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if n != blob.Size || !proof.Verified() {
		return fault.New(fault.Invalid, "its content does not match its digest: containerd's copy is damaged; pull the image again")
	}
	return nil
}

// Reader reads a stream. The caller reads the blobs in the index's order, and then calls End.
type Reader struct {
	Header Header
	Index  Index

	frame *frame.Reader
}

// NewReader reads a stream's index. What it returns had its checksum, and contradicts
// nothing.
func NewReader(f *frame.Reader) (*Reader, error) {
	if f.Version != frame.Images {
		return nil, fault.New(fault.Unsupported, "the stream holds a store of Docker's, not containerd's images")
	}
	s := &Reader{frame: f}
	if err := f.DecodeHeader(&s.Header); err != nil {
		return nil, err
	}
	var size [4]byte
	if err := s.readFull(size[:]); err != nil {
		return nil, err
	}
	n := le.Uint32(size[:])
	if n > maxIndex {
		return nil, fault.New(fault.UnsafeInput, "the stream's index has %d bytes, more than %d", n, maxIndex)
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(n))) // grows with what is there
	if err != nil {
		return nil, err
	}
	if len(raw) < int(n) {
		return nil, errShort
	}
	if err := json.Unmarshal(raw, &s.Index); err != nil {
		return nil, fault.New(fault.Invalid, "the stream's index is damaged: %w", err)
	}
	return s, s.Index.Check(s.Header)
}

func (s *Reader) readFull(p []byte) error {
	_, err := io.ReadFull(s.frame, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShort
	}
	return err
}

// Copy writes the content of the next blob, of this size. It proves no digest.
func (s *Reader) Copy(w io.Writer, size int64) error {
	_, err := io.CopyN(w, s.frame, size)
	if errors.Is(err, io.EOF) {
		return errShort
	}
	return err
}

// End fails unless the stream ends here.
func (s *Reader) End() error {
	n, err := io.Copy(io.Discard, io.LimitReader(s.frame, 1))
	if err == nil && n > 0 {
		err = fault.New(fault.Invalid, "the stream has more content than its index says")
	}
	return err
}
