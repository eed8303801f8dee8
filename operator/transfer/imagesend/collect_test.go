package imagesend

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// testRoot is a containerd's root with a database and blobs.
type testRoot struct {
	*testing.T
	dir string
	db  *bbolt.DB
}

func newTestRoot(t *testing.T) *testRoot {
	t.Helper()
	r := &testRoot{T: t, dir: t.TempDir()}
	file := filepath.Join(r.dir, "io.containerd.metadata.v1.bolt/meta.db")
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		r.db, err = bbolt.Open(file, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	return r
}

// put writes a value, with the buckets on its path.
func (r *testRoot) put(value string, path ...string) {
	r.Helper()
	err := r.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
		for _, name := range path[1 : len(path)-1] {
			if err == nil {
				b, err = b.CreateBucketIfNotExists([]byte(name))
			}
		}
		if err != nil {
			return err
		}
		return b.Put([]byte(path[len(path)-1]), []byte(value))
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *testRoot) file(d digest.Digest) string {
	return filepath.Join(r.dir, "io.containerd.content.v1.content/blobs/sha256", d.Encoded())
}

func (r *testRoot) blob(content string) digest.Digest {
	r.Helper()
	d := digest.FromString(content)
	if err := errors.Join(os.MkdirAll(filepath.Dir(r.file(d)), 0o700), os.WriteFile(r.file(d), []byte(content), 0o600)); err != nil {
		r.Fatal(err)
	}
	return d
}

// image makes an image of one layer, with a record of it, and returns the layer and the
// manifest.
func (r *testRoot) image(namespace, name, content string) (layer, manifest digest.Digest) {
	r.Helper()
	layer = r.blob(content)
	config := r.blob(`{"rootfs":{"diff_ids":["` + string(layer) + `"]}}`)
	raw, err := json.Marshal(map[string]any{"config": map[string]any{"digest": config}, "layers": []map[string]any{{"digest": layer}}})
	if err != nil {
		r.Fatal(err)
	}
	manifest = r.blob(string(raw))
	r.record(namespace, name, manifest, int64(len(raw)))
	return layer, manifest
}

func (r *testRoot) record(namespace, name string, target digest.Digest, size int64) {
	r.Helper()
	path := []string{"v1", namespace, "images", name, "target"}
	r.put(string(target), append(path, "digest")...)
	r.put("application/vnd.oci.image.manifest.v1+json", append(path, "mediatype")...)
	r.put(string(binary.AppendVarint(nil, size)), append(path, "size")...)
}

func (r *testRoot) collect(namespaces ...string) (*Collection, error) {
	r.Helper()
	root, err := containerdstore.Open(r.dir)
	if err != nil {
		r.Fatal(err)
	}
	defer root.Close()
	c, err := Collect(root, namespaces)
	if err == nil {
		r.Cleanup(func() {
			if err := c.Close(); err != nil {
				r.Error(err)
			}
		})
	}
	return c, err
}

// names returns the images of an index.
func names(x images.Index) (all []string) {
	for _, i := range x.Images {
		all = append(all, i.Namespace+" "+i.Name)
	}
	return all
}

// TestCollect: a blob of two name spaces is sent once, and stays when containerd deletes it.
func TestCollect(t *testing.T) {
	r := newTestRoot(t)
	layer, manifest := r.image("moby", "docker.io/library/web:1", "content")
	r.image("k8s.io", "docker.io/library/web:1", "content")
	r.image("k8s.io", "docker.io/library/other:1", "other")
	source := "containerd.io/distribution.source.docker.io"
	r.put("library/web", "v1", "moby", "content", "blob", string(layer), "labels", source)
	c, err := r.collect()
	if err != nil || len(c.Incomplete) > 0 {
		t.Fatal(err, c.Incomplete)
	}
	if diff := cmp.Diff([]string{"k8s.io docker.io/library/other:1", "k8s.io docker.io/library/web:1", "moby docker.io/library/web:1"}, names(c.Index)); diff != "" {
		t.Error(diff)
	}
	if len(c.Index.Blobs) != 6 {
		t.Errorf("%d blobs of two images: %+v", len(c.Index.Blobs), c.Index.Blobs)
	}
	for _, blob := range c.Index.Blobs {
		if blob.Digest == layer && (len(blob.Namespaces) != 2 || blob.Sources[source] != "library/web") {
			t.Errorf("%+v", blob)
		}
	}
	for _, d := range []digest.Digest{layer, manifest} {
		if err := os.Remove(r.file(d)); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := c.Write(t.Context(), &out, time.Now()); err != nil {
		t.Fatal(err)
	}
	f, err := frame.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := images.NewReader(f); err != nil || len(s.Index.Images) != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Write(ended, &out, time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// TestCollectIncomplete: an image without a layer is named, and no blob of it alone is sent.
func TestCollectIncomplete(t *testing.T) {
	r := newTestRoot(t)
	layer, _ := r.image("moby", "docker.io/library/web:1", "content")
	_, other := r.image("moby", "docker.io/library/other:1", "other")
	_, third := r.image("moby", "docker.io/library/third:1", "third")
	r.record("moby", "docker.io/library/small:1", third, 1)
	if err := errors.Join(os.Remove(r.file(layer)), os.WriteFile(r.file(other), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := r.collect("moby")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"does not match its digest", "another size", "containerd lacks its blob " + string(layer)} {
		if len(c.Incomplete) != 3 || !strings.Contains(c.Incomplete[i].Reason, want) || !strings.Contains(c.Incomplete[i].Reason, "pull it again") {
			t.Errorf("want %q in %q", want, c.Incomplete)
		}
	}
	if diff := cmp.Diff([]string{"moby docker.io/library/third:1"}, names(c.Index)); diff != "" || len(c.Index.Blobs) != 3 {
		t.Errorf("%s%+v", diff, c.Index.Blobs)
	}
	if err := c.Index.Check(c.Index.Describe(time.Now())); err != nil {
		t.Error(err)
	}
	if _, err := r.collect("lab"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a name space without images: %v", err)
	}
	r.put("x", "v1", "moby", "images", "bad", "target", "digest")
	if c, err = r.collect("moby"); err != nil || len(c.Incomplete) != 4 || c.Incomplete[0].Name != "bad" || !strings.Contains(c.Incomplete[0].Reason, "cannot be read") {
		t.Errorf("a damaged record: %+v, %v", c, err)
	}
	r.image("lab", "docker.io/library/lab:1", "lab")
	if c, err = r.collect("lab"); err != nil || len(c.Incomplete) > 0 || len(c.Index.Images) != 1 {
		t.Errorf("beside a damaged record in another name space: %+v, %v", c, err)
	}
}
