package containerdstore

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strings"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The names of further buckets and keys.
var (
	annotationsBucket = []byte("annotations")
	contentBucket     = []byte("content")
	blobBucket        = []byte("blob")
	mediaTypeKey      = []byte("mediatype")
)

// sourcePrefix begins the labels that say which repository of a registry has a blob.
const sourcePrefix = "containerd.io/distribution.source."

// ImageRecord is one name of an image, as containerd records it.
type ImageRecord struct {
	Namespace string
	Name      string
	Labels    map[string]string
	Target    ocispec.Descriptor // of a manifest or an index
}

// Catalog is every image record of a containerd.
type Catalog struct {
	Images []ImageRecord
	// Sources has the labels of blobs that say which repositories have them.
	Sources map[digest.Digest]map[string]string
	Damaged []DamagedImage
}

// DamagedImage is an image record that could not be read.
type DamagedImage struct {
	Namespace string
	Name      string // as it is; not safe to print
	Err       error
}

// ReadCatalog reads the image records of all name spaces.
func (r *Root) ReadCatalog() (*Catalog, error) {
	c := &Catalog{Sources: map[digest.Digest]map[string]string{}}
	err := r.readDatabase(func(tx *bbolt.Tx) error {
		return forEachNamespace(tx, func(namespace string, b *bbolt.Bucket) error {
			if err := forEachBucket(b.Bucket(imagesBucket), func(name string, b *bbolt.Bucket) error {
				record, err := decodeImageRecord(namespace, name, b)
				if err != nil {
					c.Damaged = append(c.Damaged, DamagedImage{namespace, name, err})
					return nil //nolint:nilerr // it is in Damaged
				}
				c.Images = append(c.Images, record)
				return nil
			}); err != nil {
				return err
			}
			return forEachBucket(bucketIn(b.Bucket(contentBucket), blobBucket), func(name string, b *bbolt.Bucket) error {
				labels := readLabels(b)
				maps.DeleteFunc(labels, func(key, _ string) bool { return !strings.HasPrefix(key, sourcePrefix) })
				if d := digest.Digest(name); c.Sources[d] == nil && len(labels) > 0 {
					c.Sources[d] = labels
				}
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("containerd's records in %s: %w", r.dir, err)
	}
	return c, nil
}

func decodeImageRecord(namespace, name string, b *bbolt.Bucket) (ImageRecord, error) {
	record := ImageRecord{Namespace: namespace, Name: name, Labels: readLabels(b)}
	if !isPrintable(name) {
		return record, fault.New(fault.UnsafeInput, "%.100q is not an image name", name)
	}
	target := b.Bucket(targetBucket)
	if target == nil {
		return record, fault.New(fault.Invalid, "it names no content")
	}
	size, _ := binary.Varint(target.Get(sizeKey))
	record.Target = ocispec.Descriptor{MediaType: string(target.Get(mediaTypeKey)), Digest: digest.Digest(target.Get(digestKey)), Size: size}
	if annotations := b.Bucket(annotationsBucket); annotations != nil {
		record.Target.Annotations = map[string]string{}
		if err := annotations.ForEach(func(key, value []byte) error {
			record.Target.Annotations[string(key)] = string(value)
			return nil
		}); err != nil {
			return record, err
		}
	}
	return record, checkDigest(record.Target.Digest)
}
