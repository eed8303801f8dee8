package images

import (
	"math"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

const (
	// maxIndex bounds the memory that an index takes, which is 20 times as much at worst. A
	// blob has 150 bytes of it, an image 400.
	maxIndex = 16 << 20
	// maxNamespaces bounds the name spaces of a stream. Each costs calls of containerd.
	maxNamespaces = 1000
	// maxText bounds names. containerd's database takes no longer ones.
	maxText = 4096
)

// SourcePrefix begins the labels of a blob that say which repository of a registry has it.
const SourcePrefix = "containerd.io/distribution.source."

// Header describes a stream.
type Header struct {
	Time       time.Time `json:"time"`
	Namespaces []string  `json:"namespaces"`
	Images     int       `json:"images"` // names of images, in all name spaces
	Blobs      int       `json:"blobs"`
	Bytes      int64     `json:"bytes"` // of all blobs
}

// Index lists what a stream holds.
type Index struct {
	Images []Image `json:"images"`
	Blobs  []Blob  `json:"blobs"`
}

// Image is one name of an image.
type Image struct {
	Namespace string             `json:"namespace"`
	Name      string             `json:"name"`
	Labels    map[string]string  `json:"labels,omitempty"`
	Target    ocispec.Descriptor `json:"target"`
}

// Blob is a file of the content store.
type Blob struct {
	Digest     digest.Digest     `json:"digest"`
	Size       int64             `json:"size"`
	Namespaces []string          `json:"namespaces"`
	Sources    map[string]string `json:"sources,omitempty"` // labels
}

// Describe returns the header for a stream of the index. Its time is in seconds: two streams
// of one index have the same length.
func (x Index) Describe(now time.Time) Header {
	h := Header{Time: now.Truncate(time.Second), Namespaces: []string{}, Images: len(x.Images), Blobs: len(x.Blobs)}
	for _, image := range x.Images {
		h.Namespaces = append(h.Namespaces, image.Namespace)
	}
	slices.Sort(h.Namespaces)
	h.Namespaces = slices.Compact(h.Namespaces)
	for _, blob := range x.Blobs {
		h.Bytes += blob.Size
	}
	return h
}

// Check refuses an index that contradicts itself or its header.
func (x Index) Check(h Header) error {
	sum := int64(0)
	for _, blob := range x.Blobs {
		if blob.Size < 0 || blob.Size > math.MaxInt64-sum {
			return fault.New(fault.UnsafeInput, "the stream has a blob of %d bytes", blob.Size)
		}
		sum += blob.Size
	}
	got := x.Describe(h.Time)
	if !slices.Equal(got.Namespaces, h.Namespaces) || got.Images != h.Images || got.Blobs != h.Blobs || got.Bytes != h.Bytes {
		return fault.New(fault.Invalid, "the stream's header does not match its content")
	}
	if len(got.Namespaces) > maxNamespaces {
		return fault.New(fault.UnsafeInput, "the stream has %d name spaces, more than %d", len(got.Namespaces), maxNamespaces)
	}
	for _, namespace := range got.Namespaces {
		if err := imagestore.CheckNamespace(namespace); err != nil {
			return fault.New(fault.UnsafeInput, "the stream has the invalid name space %.80q", namespace)
		}
	}
	blobs, err := x.checkBlobs(got.Namespaces)
	if err != nil {
		return err
	}
	return x.checkImages(blobs)
}

// checkBlobs returns the blobs by their digests.
func (x Index) checkBlobs(namespaces []string) (map[digest.Digest]Blob, error) {
	blobs := map[digest.Digest]Blob{}
	for _, blob := range x.Blobs {
		if err := blob.Digest.Validate(); err != nil {
			return nil, fault.New(fault.UnsafeInput, "the stream has the invalid digest %.100q", string(blob.Digest))
		}
		if _, twice := blobs[blob.Digest]; twice {
			return nil, fault.New(fault.Invalid, "the stream has blob %s twice", blob.Digest)
		}
		if len(blob.Namespaces) == 0 || len(blob.Namespaces) > len(namespaces) {
			return nil, fault.New(fault.Invalid, "the stream has blob %s in %d name spaces", blob.Digest, len(blob.Namespaces))
		}
		for _, namespace := range blob.Namespaces {
			if _, found := slices.BinarySearch(namespaces, namespace); !found {
				return nil, fault.New(fault.Invalid, "the stream has blob %s in name space %.80q, which has no image", blob.Digest, namespace)
			}
		}
		for key, value := range blob.Sources {
			if !strings.HasPrefix(key, SourcePrefix) || len(key)+len(value) > maxText {
				return nil, fault.New(fault.UnsafeInput, "the stream has the label %.80q on blob %s", key, blob.Digest)
			}
		}
		blobs[blob.Digest] = blob
	}
	return blobs, nil
}

func (x Index) checkImages(blobs map[digest.Digest]Blob) error {
	type name struct{ namespace, name string }
	seen := map[name]bool{}
	for _, image := range x.Images {
		if !isName(image.Name) {
			return fault.New(fault.UnsafeInput, "the stream has the invalid image name %.100q", image.Name)
		}
		key := name{image.Namespace, image.Name}
		if seen[key] {
			return fault.New(fault.Invalid, "the stream has image %s twice in name space %s", image.Name, image.Namespace)
		}
		seen[key] = true
		blob, has := blobs[image.Target.Digest]
		if !has || blob.Size != image.Target.Size || !slices.Contains(blob.Namespaces, image.Namespace) {
			return fault.New(fault.Invalid, "the stream lacks the manifest of image %s", image.Name)
		}
		for _, labels := range []map[string]string{image.Labels, image.Target.Annotations} {
			for key, value := range labels {
				if key == "" || len(key)+len(value) > maxText {
					return fault.New(fault.UnsafeInput, "the stream has the label %.80q on image %s", key, image.Name)
				}
			}
		}
	}
	return nil
}

// isName reports whether an image can have the name: it is printable, and has no spaces.
func isName(name string) bool {
	return name != "" && len(name) <= maxText && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
