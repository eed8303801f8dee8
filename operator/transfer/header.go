package transfer

import (
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

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
