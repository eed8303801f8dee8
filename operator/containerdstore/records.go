package containerdstore

import (
	"encoding/binary"
	"fmt"

	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Records is what containerd knows of one snapshotter's snapshots, in all name spaces.
type Records struct {
	Snapshotter string
	// Namespaces has every name space, with the highest number that containerd gave a
	// snapshot of this snapshotter in it.
	Namespaces map[string]uint64
	Snapshots  []Snapshot
	Containers []Container
	Images     []Image
	// Damaged has the records that could not be read.
	Damaged []Damage
}

// Snapshot is containerd's record of a snapshot.
type Snapshot struct {
	Namespace string
	Key       string // as clients name it
	Name      string // as the snapshotter names it: NAMESPACE/NUMBER/KEY
	Parent    string // a key in the same name space, or ""
	Leases    []string
}

// Container is containerd's record of a container.
type Container struct {
	Namespace string
	ID        string
	Image     string // its name
	Key       string // of its snapshot
	Name      string // that Kubernetes or nerdctl gave it; the ID without one
	Running   bool
}

// Image is an image with one or more names.
type Image struct {
	Namespace string
	Target    digest.Digest // of a manifest or an index
	Names     []string
	Manifests []Manifest // those in the content store
}

// Damage is a record that could not be read.
type Damage struct {
	Record string
	Err    error
}

// Error names the record. The text is safe to print on a terminal.
func (d Damage) Error() string { return fault.Printable(fmt.Sprintf("%s: %v", d.Record, d.Err)) }

// Unwrap returns the cause.
func (d Damage) Unwrap() error { return d.Err }

// Read reads the records that concern a snapshotter. It fails with fault.NotFound when
// containerd has no records at all.
func (r *Root) Read(snapshotter string) (*Records, error) {
	d := &decoder{records: &Records{Snapshotter: snapshotter, Namespaces: map[string]uint64{}}}
	if err := r.readDatabase(d.decode); err != nil {
		return nil, fmt.Errorf("containerd's records in %s: %w", r.dir, err)
	}
	for i := range d.records.Images {
		r.readManifests(&d.records.Images[i], d.addDamage)
	}
	bundles := findBundles("/proc")
	for i := range d.records.Containers {
		c := &d.records.Containers[i]
		c.Running = isRunning(bundles, c.Namespace, c.ID)
	}
	return d.records, nil
}

// SnapshotKeys returns the keys of a snapshotter's snapshots in all name spaces.
func (r *Root) SnapshotKeys(snapshotter string) (map[string]bool, error) {
	keys := map[string]bool{}
	err := r.readDatabase(func(tx *bbolt.Tx) error {
		return forEachNamespace(tx, func(_ string, b *bbolt.Bucket) error {
			return forEachBucket(bucketIn(b.Bucket(snapshotsBucket), []byte(snapshotter)), func(key string, _ *bbolt.Bucket) error {
				keys[key] = true
				return nil
			})
		})
	})
	return keys, err
}

// BackendNames returns the names that snapshots have in a snapshotter, of all snapshotters
// and in all name spaces.
func (r *Root) BackendNames() (map[string]bool, error) {
	names := map[string]bool{}
	err := r.readDatabase(func(tx *bbolt.Tx) error {
		return forEachNamespace(tx, func(_ string, b *bbolt.Bucket) error {
			return forEachBucket(b.Bucket(snapshotsBucket), func(_ string, snapshots *bbolt.Bucket) error {
				return forEachBucket(snapshots, func(_ string, b *bbolt.Bucket) error {
					names[string(b.Get(nameKey))] = true
					return nil
				})
			})
		})
	})
	return names, err
}

// Summary is what containerd has recorded, whatever snapshotter is used.
type Summary struct {
	Schema     uint64         // the database's version: 3 by containerd 1.7, 4 by containerd 2
	Containers map[string]int // by snapshotter
	Pods       bool           // there are containers of Kubernetes
}

// kubernetesNamespace is the name space of the CRI.
const kubernetesNamespace = "k8s.io"

// Summarize reads what containers there are.
func (r *Root) Summarize() (Summary, error) {
	s := Summary{Containers: map[string]int{}}
	err := r.readDatabase(func(tx *bbolt.Tx) error {
		if schema := tx.Bucket(schemaBucket); schema != nil {
			version, _ := binary.Varint(schema.Get(versionKey))
			s.Schema = uint64(max(0, version))
		}
		return forEachNamespace(tx, func(namespace string, b *bbolt.Bucket) error {
			return forEachBucket(b.Bucket(containersBucket), func(_ string, b *bbolt.Bucket) error {
				s.Containers[string(b.Get(snapshotterKey))]++
				s.Pods = s.Pods || namespace == kubernetesNamespace
				return nil
			})
		})
	})
	return s, err
}

// IsModern reports whether containerd 2 made the records.
func (s Summary) IsModern() bool { return s.Schema >= 4 }

// Snapshotters returns how many snapshots containerd knows of each snapshotter.
func (r *Root) Snapshotters() (map[string]int, error) {
	counts := map[string]int{}
	err := r.readDatabase(func(tx *bbolt.Tx) error {
		return forEachNamespace(tx, func(_ string, b *bbolt.Bucket) error {
			return forEachBucket(b.Bucket(snapshotsBucket), func(name string, snapshots *bbolt.Bucket) error {
				counts[name] += 0
				return forEachBucket(snapshots, func(string, *bbolt.Bucket) error {
					counts[name]++
					return nil
				})
			})
		})
	})
	return counts, err
}
