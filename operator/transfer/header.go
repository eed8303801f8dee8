package transfer

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

const (
	magic     = "overlayzfs-send\n"
	version   = 1
	maxHeader = 64 << 10
	maxPart   = 1 << 20
)

var le = binary.LittleEndian

// Header describes a stream.
type Header struct {
	Name     string    `json:"name"`                // of the snapshot, without its dataset
	GUID     uint64    `json:"guid"`                // of the snapshot
	From     string    `json:"from,omitempty"`      // the snapshot that the receiver needs
	FromGUID uint64    `json:"from_guid,omitempty"` // 0 in a full stream
	Time     time.Time `json:"time"`
	Bytes    uint64    `json:"bytes"` // estimated size of the ZFS stream
	Images   int       `json:"images"`
	Layers   int       `json:"layers"`
	Format   int       `json:"format"` // of the store
	OpenZFS  string    `json:"openzfs"`
}

// IsFull reports whether the stream is a full one, not an incremental one.
func (h Header) IsFull() bool { return h.FromGUID == 0 }

func (h Header) check() error {
	for _, name := range []string{h.Name, h.From} {
		if name == "" && h.IsFull() && name == h.From {
			continue
		}
		if strings.Contains(name, "@") || zfs.CheckSnapshotName("pool@"+name) != nil {
			return fault.New(fault.UnsafeInput, "the stream has the invalid snapshot name %.80q", name)
		}
	}
	if h.GUID == 0 || h.Images < 0 || h.Layers < 0 || h.IsFull() != (h.From == "") {
		return fault.New(fault.Invalid, "the stream's header contradicts itself")
	}
	return nil
}

// write writes magic, version and header.
func (h Header) write(w io.Writer) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	lead := append([]byte(magic), 0, 0, 0, 0, 0, 0, 0, 0)
	le.PutUint32(lead[len(magic):], version)
	le.PutUint32(lead[len(magic)+4:], uint32(len(raw)))
	_, err = w.Write(append(lead, raw...))
	return err
}

// readHeader reads magic, version and header.
func readHeader(r io.Reader) (h Header, err error) {
	var lead [len(magic) + 8]byte
	if _, err := io.ReadFull(r, lead[:]); err != nil || string(lead[:len(magic)]) != magic {
		return h, fault.New(fault.Invalid, "the input is not a stream of `overlayzfs send`")
	}
	if v := le.Uint32(lead[len(magic):]); v != version {
		return h, fault.New(fault.Unsupported, "the stream has version %d, and this overlayzfs supports version %d: use the overlayzfs that wrote it", v, version)
	}
	n := le.Uint32(lead[len(magic)+4:])
	if n > maxHeader {
		return h, fault.New(fault.UnsafeInput, "the stream's header has %d bytes, more than %d", n, maxHeader)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return h, errShort
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fault.New(fault.Invalid, "the stream's header is damaged: %w", err)
	}
	return h, h.check()
}
