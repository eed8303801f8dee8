package containerdstore

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/boltcopy"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Door is the snapshotter's name for itself in a store, BackendFile its file of records.
const (
	Door        = "containerd"
	BackendFile = "metadata.db"
)

// Kind is the kind of a snapshot.
type Kind byte

// The kinds, as containerd numbers them (core/snapshots).
const (
	View      Kind = 1
	Active    Kind = 2
	Committed Kind = 3
)

// Backend is the snapshotter's record of a snapshot.
type Backend struct {
	Name     string // NAMESPACE/NUMBER/KEY
	ID       string // of its layer, which it need not have
	Kind     Kind
	Parent   string // a name, or ""
	Size     int64  // allocated, of a committed snapshot
	Apparent int64  // the sum of its files' lengths, if recorded
}

// HasLayer reports whether the snapshot has a layer of its own. A view of a snapshot has
// none.
func (b Backend) HasLayer() bool { return b.Kind != View || b.Parent == "" }

// apparentLabel is the snapshotter's label for the sum of a snapshot's file lengths.
const apparentLabel = "containerd.io/snapshot/overlayzfs.apparent-size"

var (
	idKey   = []byte("id")
	kindKey = []byte("kind")
	sizeKey = []byte("size")
)

// ReadBackend reads the snapshotter's records from their file. The snapshotter may be
// running.
func ReadBackend(f *os.File) ([]Backend, error) {
	var all []Backend
	err := boltcopy.Read(f, func(tx *bbolt.Tx) error {
		return forEachBucket(bucketIn(tx.Bucket(schemaBucket), snapshotsBucket), func(name string, b *bbolt.Bucket) error {
			record, err := decodeBackend(name, b)
			all = append(all, record)
			return err
		})
	})
	return all, err
}

// decodeBackend reads one record (containerd, core/snapshots/storage/bolt.go).
func decodeBackend(name string, b *bbolt.Bucket) (r Backend, err error) {
	id, n := binary.Uvarint(b.Get(idKey))
	kind := b.Get(kindKey)
	if n <= 0 || len(kind) != 1 || Kind(kind[0]) < View || Kind(kind[0]) > Committed {
		return r, fault.New(fault.Invalid, "the record of snapshot %.200q lacks the number of its layer, or its kind", name)
	}
	r = Backend{Name: name, ID: strconv.FormatUint(id, 10), Kind: Kind(kind[0]), Parent: string(b.Get(parentKey))}
	if size, n := binary.Varint(b.Get(sizeKey)); n > 0 {
		r.Size = max(0, size)
	}
	if apparent, err := strconv.ParseInt(readLabels(b)[apparentLabel], 10, 64); err == nil {
		r.Apparent = max(0, apparent)
	}
	return r, nil
}

// IsLayerID reports whether a layer's ID is one that the snapshotter chose: a number.
func IsLayerID(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == id
}

// SplitName returns the parts of a name that containerd gives a snapshot in the
// snapshotter.
func SplitName(name string) (namespace string, number uint64, key string, ok bool) {
	namespace, rest, found := strings.Cut(name, "/")
	text, key, cut := strings.Cut(rest, "/")
	number, err := strconv.ParseUint(text, 10, 64)
	return namespace, number, key, found && cut && err == nil && namespace != "" && key != ""
}
