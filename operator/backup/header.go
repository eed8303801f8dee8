package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

const (
	magic     = "overlayzfs-backup\n"
	version   = 1
	maxHeader = 16 << 20
)

// layersPath is the path of the layers dataset in a backup, when it does not lie below the
// records dataset.
const layersPath = "layers"

// Header describes a backup.
type Header struct {
	Version  int       `json:"version"`
	Name     string    `json:"name"` // of the snapshot, the part after the @
	Time     time.Time `json:"time"`
	Layers   string    `json:"layers"` // the path of the layers dataset
	OpenZFS  string    `json:"openzfs"`
	Datasets []Dataset `json:"datasets"`
}

// Dataset is one dataset of a backup.
type Dataset struct {
	Path     string `json:"path"` // below the records dataset, "" for itself
	GUID     uint64 `json:"guid"` // of the snapshot
	From     string `json:"from,omitempty"`
	FromGUID uint64 `json:"from_guid,omitempty"`
	Bytes    uint64 `json:"bytes"` // estimated
	Resumes  bool   `json:"resumes,omitempty"`
	Have     bool   `json:"have,omitempty"` // the receiver has it already: no stream follows

	Raw bool `json:"raw,omitempty"`
	// SharesKey says that the dataset inherits the key of the one at KeyPath, which is above it.
	SharesKey bool   `json:"shares_key,omitempty"`
	KeyPath   string `json:"key_path,omitempty"`

	Mountpoint string            `json:"mountpoint"` // a path, legacy or none
	Numbers    map[string]uint64 `json:"numbers,omitempty"`
	Texts      map[string]string `json:"texts,omitempty"`    // user properties
	Snapshot   map[string]string `json:"snapshot,omitempty"` // user properties of the snapshot
}

// check refuses a header with which a receiver could write elsewhere than below its dataset.
func (h Header) check() error {
	if h.Version != version {
		return fault.New(fault.Unsupported, "the backup has version %d, and this overlayzfs supports version %d: use the overlayzfs that wrote it", h.Version, version)
	}
	if zfs.CheckSnapshotName("pool@"+h.Name) != nil || strings.ContainsAny(h.Name, "@/") {
		return fault.New(fault.UnsafeInput, "the backup has the invalid snapshot name %.80q", h.Name)
	}
	seen := map[string]bool{}
	for i, d := range h.Datasets {
		switch {
		case (i == 0) != (d.Path == ""), i > 0 && zfs.CheckDatasetName("pool/"+d.Path) != nil, seen[d.Path]:
			return fault.New(fault.UnsafeInput, "the backup has the invalid dataset %.80q", d.Path)
		case i > 0 && !seen[parentPath(d.Path)]:
			return fault.New(fault.UnsafeInput, "the backup lacks the parent of dataset %.80q", d.Path)
		case d.SharesKey && (!d.Raw || !seen[d.KeyPath] || d.KeyPath != "" && !strings.HasPrefix(d.Path, d.KeyPath+"/")), d.GUID == 0, (d.From == "") != (d.FromGUID == 0):
			return fault.New(fault.Invalid, "the backup contradicts itself about dataset %.80q", d.Path)
		case d.From != "" && zfs.CheckSnapshotName("pool@"+d.From) != nil:
			return fault.New(fault.UnsafeInput, "the backup has the invalid snapshot name %.80q", d.From)
		}
		seen[d.Path] = true
	}
	if !seen[""] || !seen[h.Layers] {
		return fault.New(fault.Invalid, "the backup lacks the records dataset or the layers dataset")
	}
	return nil
}

// parentPath returns the path of the dataset above.
func parentPath(p string) string {
	if parent := path.Dir(p); parent != "." {
		return parent
	}
	return ""
}

// Bytes is the estimated length of the streams.
func (h Header) Bytes() (n uint64) {
	for _, d := range h.Datasets {
		n += d.Bytes
	}
	return n
}

// Missing returns how many datasets the stream has.
func (h Header) Missing() int {
	return len(slices.DeleteFunc(slices.Clone(h.Datasets), func(d Dataset) bool { return d.Have }))
}

func (h Header) write(w io.Writer) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	lead := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(raw)))
	all := append(lead, raw...)
	sum := sha256.Sum256(all)
	_, err = w.Write(append(all, sum[:]...))
	return err
}

// ReadHeader reads and checks the header of a backup.
func ReadHeader(r io.Reader) (h Header, err error) {
	lead := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, lead); err != nil || string(lead[:len(magic)]) != magic {
		return h, fault.New(fault.Invalid, "the input is not a stream of `overlayzfs backup`")
	}
	n := binary.LittleEndian.Uint32(lead[len(magic):])
	if n > maxHeader {
		return h, fault.New(fault.UnsafeInput, "the backup's header has %d bytes, more than %d", n, maxHeader)
	}
	raw := make([]byte, int(n)+sha256.Size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return h, fault.New(fault.Invalid, "the backup ends too early: send it again")
	}
	sum := sha256.Sum256(append(lead, raw[:n]...))
	if !bytes.Equal(sum[:], raw[n:]) {
		return h, fault.New(fault.Invalid, "the backup is damaged, its checksum is wrong: send it again")
	}
	if err := json.Unmarshal(raw[:n], &h); err != nil {
		return h, fault.New(fault.Invalid, "the backup's header is damaged: %w", err)
	}
	return h, h.check()
}
