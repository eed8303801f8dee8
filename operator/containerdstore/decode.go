package containerdstore

import (
	"cmp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The names of buckets and keys (containerd, core/metadata/buckets.go).
var (
	schemaBucket     = []byte("v1")
	imagesBucket     = []byte("images")
	containersBucket = []byte("containers")
	snapshotsBucket  = []byte("snapshots")
	leasesBucket     = []byte("leases")
	labelsBucket     = []byte("labels")
	targetBucket     = []byte("target")
	extensionsBucket = []byte("extensions")

	versionKey     = []byte("version")
	nameKey        = []byte("name")
	parentKey      = []byte("parent")
	digestKey      = []byte("digest")
	imageKey       = []byte("image")
	snapshotterKey = []byte("snapshotter")
	snapshotKeyKey = []byte("snapshotKey")
)

// maxName bounds the length of keys, names and IDs. bbolt's keys are not longer.
const maxName = bbolt.MaxKeySize

// decoder fills Records.
type decoder struct{ records *Records }

func (d *decoder) addDamage(record string, err error) {
	d.records.Damaged = append(d.records.Damaged, Damage{record, err})
}

// decode reads all name spaces.
func (d *decoder) decode(tx *bbolt.Tx) error {
	return forEachNamespace(tx, func(namespace string, b *bbolt.Bucket) error {
		d.records.Namespaces[namespace] = 0
		for _, decode := range []func(string, *bbolt.Bucket) error{d.decodeSnapshots, d.decodeContainers, d.decodeImages} {
			if err := decode(namespace, b); err != nil {
				return err
			}
		}
		return nil
	})
}

// forEachNamespace calls show for the bucket of each name space. A new containerd has
// none.
func forEachNamespace(tx *bbolt.Tx, show func(namespace string, b *bbolt.Bucket) error) error {
	schema := tx.Bucket(schemaBucket)
	if schema == nil {
		if key, _ := tx.Cursor().First(); key != nil {
			return fault.New(fault.Unsupported, "the database has no schema v1, which containerd 1.7 and 2 write")
		}
	}
	return forEachBucket(schema, show)
}

// forEachBucket calls show for each bucket in b, which may be nil.
func forEachBucket(b *bbolt.Bucket, show func(name string, b *bbolt.Bucket) error) error {
	if b == nil {
		return nil
	}
	return b.ForEachBucket(func(name []byte) error { return show(string(name), b.Bucket(name)) })
}

// bucketIn returns a bucket in b, or nil. b may be nil.
func bucketIn(b *bbolt.Bucket, name []byte) *bbolt.Bucket {
	if b == nil {
		return nil
	}
	return b.Bucket(name)
}

// decodeSnapshots reads the snapshots of one name space.
func (d *decoder) decodeSnapshots(namespace string, b *bbolt.Bucket) error {
	snapshots := bucketIn(b.Bucket(snapshotsBucket), []byte(d.records.Snapshotter))
	if snapshots == nil {
		return nil
	}
	d.records.Namespaces[namespace] = snapshots.Sequence()
	leases, err := d.decodeLeases(b)
	if err != nil {
		return err
	}
	return forEachBucket(snapshots, func(key string, b *bbolt.Bucket) error {
		s := Snapshot{Namespace: namespace, Key: key, Name: string(b.Get(nameKey)), Parent: string(b.Get(parentKey)), Leases: leases[key]}
		if s.Name == "" || len(s.Name) > maxName || len(s.Parent) > maxName {
			d.addDamage("snapshot "+namespace+"/"+key, fault.New(fault.Invalid, "it has no name in the snapshotter"))
			return nil
		}
		d.records.Snapshots = append(d.records.Snapshots, s)
		return nil
	})
}

// decodeLeases returns the leases on each snapshot of a name space.
func (d *decoder) decodeLeases(b *bbolt.Bucket) (map[string][]string, error) {
	leases := map[string][]string{}
	err := forEachBucket(b.Bucket(leasesBucket), func(lease string, b *bbolt.Bucket) error {
		held := bucketIn(b.Bucket(snapshotsBucket), []byte(d.records.Snapshotter))
		if held == nil {
			return nil
		}
		return held.ForEach(func(key, _ []byte) error {
			leases[string(key)] = append(leases[string(key)], lease)
			return nil
		})
	})
	return leases, err
}

// decodeContainers reads the containers of one name space that use the snapshotter.
func (d *decoder) decodeContainers(namespace string, b *bbolt.Bucket) error {
	return forEachBucket(b.Bucket(containersBucket), func(id string, b *bbolt.Bucket) error {
		if string(b.Get(snapshotterKey)) != d.records.Snapshotter {
			return nil
		}
		c := Container{Namespace: namespace, ID: id, Image: string(b.Get(imageKey)), Key: string(b.Get(snapshotKeyKey))}
		c.Name = cmp.Or(containerName(readLabels(b), bucketIn(b, extensionsBucket)), id)
		if c.Key == "" || !isPrintable(id) {
			d.addDamage("container "+namespace+"/"+id, fault.New(fault.Invalid, "it names no snapshot, or the ID is not that of a container"))
			return nil
		}
		d.records.Containers = append(d.records.Containers, c)
		return nil
	})
}

// readLabels returns the labels of a record.
func readLabels(b *bbolt.Bucket) map[string]string {
	labels := map[string]string{}
	if bucket := b.Bucket(labelsBucket); bucket != nil {
		c := bucket.Cursor()
		for key, value := c.First(); key != nil; key, value = c.Next() {
			labels[string(key)] = string(value)
		}
	}
	return labels
}

// decodeImages reads the images of one name space. Names of one target are one image.
func (d *decoder) decodeImages(namespace string, b *bbolt.Bucket) error {
	byTarget := map[digest.Digest]*Image{}
	err := forEachBucket(b.Bucket(imagesBucket), func(name string, b *bbolt.Bucket) error {
		var target digest.Digest
		if b := b.Bucket(targetBucket); b != nil {
			target = digest.Digest(b.Get(digestKey))
		}
		if err := checkDigest(target); err != nil {
			d.addDamage("image "+namespace+"/"+name, err)
			return nil
		}
		image := byTarget[target]
		if image == nil {
			image = &Image{Namespace: namespace, Target: target}
			byTarget[target] = image
		}
		if !isPrintable(name) {
			d.addDamage("image "+namespace+"/"+name, fault.New(fault.UnsafeInput, "%.100q is not an image name", name))
			return nil
		}
		image.Names = append(image.Names, name)
		return nil
	})
	for _, image := range byTarget {
		d.records.Images = append(d.records.Images, *image)
	}
	slices.SortFunc(d.records.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Target, b.Target))
	})
	return err
}

// isPrintable reports whether a name can be printed on a terminal, and has no spaces.
func isPrintable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
