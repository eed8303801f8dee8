package imagesend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// Collection is what a stream is made of. Its blobs are open, so that they stay even if
// containerd deletes them. Close it when done.
type Collection struct {
	Index images.Index
	// Incomplete has the images that are not in Index.
	Incomplete []Incomplete

	files map[digest.Digest]*os.File
}

// Incomplete is an image that could not run where it is received.
type Incomplete struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
}

// Collect collects the images of the name spaces, or of all for none. It fails with
// fault.NotFound for a name space without images.
func Collect(root *containerdstore.Root, namespaces []string) (*Collection, error) {
	c, err := collect(root, namespaces)
	if err != nil || len(c.Incomplete) == 0 {
		return c, err
	}
	// containerd may have removed an image after its record was read.
	if err := c.Close(); err != nil {
		return nil, err
	}
	return collect(root, namespaces)
}

func collect(root *containerdstore.Root, namespaces []string) (*Collection, error) {
	catalog, err := root.ReadCatalog()
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces {
		if !slices.ContainsFunc(catalog.Images, func(i containerdstore.ImageRecord) bool { return i.Namespace == namespace }) {
			return nil, fault.New(fault.NotFound, "containerd in %s has no images in a name space %q", root.Dir(), namespace)
		}
	}
	c := &Collection{files: map[digest.Digest]*os.File{}, Index: images.Index{Images: []images.Image{}, Blobs: []images.Blob{}}}
	g := gatherer{Collection: c, root: root, catalog: catalog, trees: map[digest.Digest]tree{}, places: map[digest.Digest]int{}}
	isWanted := func(namespace string) bool { return len(namespaces) == 0 || slices.Contains(namespaces, namespace) }
	for _, d := range catalog.Damaged {
		if isWanted(d.Namespace) {
			c.Incomplete = append(c.Incomplete, Incomplete{d.Namespace, d.Name, fmt.Sprintf("its record cannot be read: %v; remove it (`ctr images rm`), and pull it again", d.Err)})
		}
	}
	for _, record := range catalog.Images {
		if !isWanted(record.Namespace) {
			continue
		}
		if err := g.add(record); err != nil {
			return nil, errors.Join(fmt.Errorf("image %s in name space %s: %w", record.Name, record.Namespace, err), c.Close())
		}
	}
	c.seal()
	return c, nil
}

// gatherer fills a Collection.
type gatherer struct {
	*Collection
	root    *containerdstore.Root
	catalog *containerdstore.Catalog
	trees   map[digest.Digest]tree
	places  map[digest.Digest]int // in the index
}

// tree is what the content store has of one target.
type tree struct {
	blobs  []digest.Digest
	reason string // why it cannot be sent, or ""
}

func (g *gatherer) add(record containerdstore.ImageRecord) error {
	t, err := g.findTree(record)
	if err != nil {
		return err
	}
	if t.reason == "" && g.Index.Blobs[g.places[record.Target.Digest]].Size != record.Target.Size {
		t.reason = "its record has another size than its manifest; pull it again"
	}
	if t.reason != "" {
		g.Incomplete = append(g.Incomplete, Incomplete{record.Namespace, record.Name, t.reason})
		return nil
	}
	for _, d := range t.blobs {
		i := g.places[d]
		blob := &g.Index.Blobs[i]
		if !slices.Contains(blob.Namespaces, record.Namespace) {
			blob.Namespaces = append(blob.Namespaces, record.Namespace)
		}
	}
	g.Index.Images = append(g.Index.Images, images.Image{Namespace: record.Namespace, Name: record.Name, Labels: record.Labels, Target: record.Target})
	return nil
}

// findTree opens the blobs of an image, once for all its names.
func (g *gatherer) findTree(record containerdstore.ImageRecord) (t tree, err error) {
	target := record.Target
	if t, known := g.trees[target.Digest]; known {
		return t, nil
	}
	found, err := g.root.FindBlobs(target.Digest)
	t.blobs = found.Present
	switch {
	case errors.Is(err, fault.Invalid), errors.Is(err, fault.UnsafeInput):
		t.reason = fmt.Sprintf("%v; pull it again", err)
	case err != nil:
		return t, err
	case found.Missing != "":
		t.reason = fmt.Sprintf("containerd lacks its blob %s: it was not pulled completely, or containerd discards layers that are unpacked (discard_unpacked_layers); pull it again without that", found.Missing)
	}
	for _, d := range t.blobs {
		if t.reason != "" {
			break
		}
		if err = g.open(d); errors.Is(err, fs.ErrNotExist) { // deleted since
			t.reason, err = fmt.Sprintf("containerd deleted its blob %s; pull it again", d), nil
		}
		if err != nil {
			return t, err
		}
	}
	g.trees[target.Digest] = t
	return t, nil
}

// open opens a blob, and adds it to the index.
func (g *gatherer) open(d digest.Digest) error {
	if g.files[d] != nil {
		return nil
	}
	f, err := g.root.OpenBlob(d)
	if errors.Is(err, unix.EMFILE) {
		return fault.New(fault.Unsupported, "the images have more blobs than this process may have open files (%d): raise the limit with `ulimit -n`, or send the name spaces one after another", len(g.files))
	}
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	g.files[d], g.places[d] = f, len(g.Index.Blobs)
	g.Index.Blobs = append(g.Index.Blobs, images.Blob{Digest: d, Size: fi.Size(), Sources: g.catalog.Sources[d]})
	return nil
}

// seal drops the blobs that no complete image has, and sorts the images.
func (c *Collection) seal() {
	c.Index.Blobs = slices.DeleteFunc(c.Index.Blobs, func(b images.Blob) bool { return len(b.Namespaces) == 0 })
	slices.SortFunc(c.Index.Images, func(a, b images.Image) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// Write writes the stream. It fails when containerd's copy of a blob is damaged.
func (c *Collection) Write(ctx context.Context, w io.Writer, now time.Time) error {
	return images.Write(w, c.Index, now, func(b images.Blob) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return io.NopCloser(contextReader{ctx, io.NewSectionReader(c.files[b.Digest], 0, b.Size)}), nil
	})
}

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Close closes the blobs.
func (c *Collection) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
