package containerdstore

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// tree is the content of a bucket: strings are values, trees are buckets.
type tree map[string]any

// put writes a tree into a bucket.
func (t tree) put(b *bbolt.Bucket) error {
	for key, value := range t {
		var err error
		switch value := value.(type) {
		case string:
			err = b.Put([]byte(key), []byte(value))
		case uint64:
			err = b.SetSequence(value) // of this bucket; the key says nothing
		case tree:
			var below *bbolt.Bucket
			if below, err = b.CreateBucketIfNotExists([]byte(key)); err == nil {
				err = value.put(below)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeDatabase makes a database of top-level buckets.
func writeDatabase(t testing.TB, file string, content tree) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for name, value := range content {
			b, err := tx.CreateBucketIfNotExists([]byte(name))
			if err == nil {
				err = value.(tree).put(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// testRoot is a containerd's root.
type testRoot struct {
	testing.TB
	dir string
}

func newTestRoot(t testing.TB) testRoot { return testRoot{t, t.TempDir()} }

// write writes containerd's records.
func (r testRoot) write(namespaces tree) {
	r.Helper()
	writeDatabase(r, filepath.Join(r.dir, metadataName), tree{"v1": namespaces})
}

// open opens the root until the test ends.
func (r testRoot) open() *Root {
	r.Helper()
	root, err := Open(r.dir)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { root.Close() })
	return root
}

// blob writes a file of the content store, and returns its digest.
func (r testRoot) blob(content []byte) digest.Digest {
	r.Helper()
	d := digest.FromBytes(content)
	file := filepath.Join(r.dir, blobsDir, "sha256", d.Encoded())
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
		r.Fatal(err)
	}
	return d
}

func (r testRoot) json(value any) digest.Digest {
	r.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		r.Fatal(err)
	}
	return r.blob(raw)
}

// makeTar returns a tar of one file.
func makeTar(t testing.TB, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg})
	_, writeErr := w.Write([]byte(content))
	if err := errors.Join(err, writeErr, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compress(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// testImage is an image of two layers in a content store. The upper layer's blob is not
// compressed.
type testImage struct {
	target, manifest, config digest.Digest
	diffs, blobs, chains     []digest.Digest
}

func (r testRoot) image() (i testImage) {
	r.Helper()
	tars := [][]byte{makeTar(r, "base"), makeTar(r, "top")}
	for n, raw := range tars {
		i.diffs = append(i.diffs, digest.FromBytes(raw))
		if n == 0 {
			raw = compress(r, raw)
		}
		i.blobs = append(i.blobs, r.blob(raw))
	}
	i.chains = []digest.Digest{i.diffs[0], digest.FromString(string(i.diffs[0]) + " " + string(i.diffs[1]))}
	i.config = r.json(map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": i.diffs}})
	layers := []map[string]any{{"digest": i.blobs[0]}, {"digest": i.blobs[1]}}
	i.manifest = r.json(map[string]any{"config": map[string]any{"digest": i.config}, "layers": layers})
	absent := digest.FromString("another platform's")
	attestation := r.json(map[string]any{"config": map[string]any{"digest": i.config}, "layers": layers, "annotations": map[string]string{"a": "b"}})
	i.target = r.json(map[string]any{"manifests": []map[string]any{
		{"digest": absent}, {"digest": i.manifest},
		{"digest": attestation, "annotations": map[string]string{"vnd.docker.reference.type": "attestation-manifest"}},
	}})
	return i
}

// anyOf encodes a google.protobuf.Any with a value.
func anyOf(value string) string {
	raw := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a.type")
	return string(protowire.AppendString(protowire.AppendTag(raw, 2, protowire.BytesType), value))
}

func uvarint(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

func varint(n int64) string { return string(binary.AppendVarint(nil, n)) }

// TestReadDamagedDatabase: what cannot be read is an error, not an empty list.
func TestReadDamagedDatabase(t *testing.T) {
	r := newTestRoot(t)
	root := r.open()
	if _, err := root.Read("overlayzfs"); !errors.Is(err, fault.NotFound) {
		t.Errorf("without a database: %v", err)
	}
	file := filepath.Join(r.dir, metadataName)
	writeDatabase(t, file, tree{"v2": tree{}})
	if _, err := root.Read("overlayzfs"); !errors.Is(err, fault.Unsupported) {
		t.Errorf("another schema: %v", err)
	}
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Read("overlayzfs"); !errors.Is(err, fault.Invalid) {
		t.Errorf("zeros: %v", err)
	}
	if err := errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file)); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Read("overlayzfs"); err == nil {
		t.Error("a link out of the root is followed")
	}
}
