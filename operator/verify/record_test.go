package verify

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// testLayer is a store with one layer, and Docker's record of it.
type testLayer struct {
	*testing.T
	home, root string
	layer      dockerstore.Layer
}

func newTestLayer(t *testing.T) testLayer {
	t.Helper()
	var whole bytes.Buffer
	w := tar.NewWriter(&whole)
	for _, name := range []string{"one", "two"} {
		if err := w.WriteHeader(header(name, tar.TypeReg, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	k := newLayerOfTar(t, whole.Bytes())
	for _, name := range []string{"one", "two"} {
		k.write(k.home, "a/diff/"+name, content)
	}
	return k
}

// newLayerOfTar returns a layer without files, and Docker's record of its tar.
func newLayerOfTar(t *testing.T, whole []byte) testLayer {
	t.Helper()
	k := testLayer{t, t.TempDir(), t.TempDir(), dockerstore.Layer{CacheID: "a"}}
	k.noError(os.MkdirAll(filepath.Join(k.home, "a/diff"), 0o700))
	k.noError(os.Mkdir(filepath.Join(k.home, "l"), 0o700))
	k.layer.Diff = digest.FromBytes(whole)
	k.layer.Chain = k.layer.Diff
	record := &bytes.Buffer{}
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(whole), storage.NewJSONPacker(record), nil)
	k.noError(err)
	_, err = io.Copy(io.Discard, in)
	k.noError(err)
	k.noError(<-done)
	k.record(record.String())
	return k
}

func (k testLayer) noError(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k testLayer) write(dir, name, content string) {
	k.Helper()
	path := filepath.Join(dir, name)
	k.noError(os.MkdirAll(filepath.Dir(path), 0o755))
	k.noError(os.WriteFile(path, []byte(content), 0o644))
	k.noError(os.Chmod(path, 0o644))
}

func (k testLayer) recordName() string {
	return "image/overlayzfs/layerdb/sha256/" + k.layer.Chain.Encoded() + "/tar-split.json.gz"
}

// record writes Docker's record of the layer's tar.
func (k testLayer) record(text string) {
	k.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, text)
	k.noError(err)
	k.noError(z.Close())
	k.write(k.root, k.recordName(), packed.String())
}

func (k testLayer) readRecord() string {
	k.Helper()
	raw, err := os.ReadFile(filepath.Join(k.root, k.recordName()))
	k.noError(err)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	k.noError(err)
	text, err := io.ReadAll(z)
	k.noError(err)
	return string(text)
}

func (k testLayer) verify() Result {
	k.Helper()
	view, err := overlayzfs.OpenHomeReadOnly(k.home)
	k.noError(err)
	docker, err := dockerstore.Open(k.root)
	k.noError(err)
	defer docker.Close()
	results, err := Verifier{View: view, Engine: Docker{docker, "overlayzfs"}}.VerifyLayers(k.Context(), []dockerstore.Layer{k.layer})
	k.noError(err)
	return results[0]
}

// TestDamagedRecordsProveNothing: a record that is not whole says nothing of the layer.
func TestDamagedRecordsProveNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(k *testLayer)
		want  Status
		says  string
	}{
		"nothing":      {func(*testLayer) {}, OK, ""},
		"content":      {func(k *testLayer) { k.write(k.home, "a/diff/two", strings.ToUpper(content)) }, Changed, `"two"`},
		"the digest":   {func(k *testLayer) { k.layer.Diff = digest.FromString("of another tar") }, Unproven, "each file is as recorded, but the tar has the digest"},
		"no record":    {func(k *testLayer) { k.noError(os.Remove(filepath.Join(k.root, k.recordName()))) }, Unproven, ""},
		"half of it":   {func(k *testLayer) { text := k.readRecord(); k.record(text[:len(text)/2]) }, Unproven, "tar-split.json.gz"},
		"no JSON":      {func(k *testLayer) { k.record(k.readRecord() + "}") }, Unproven, ""},
		"a name twice": {func(k *testLayer) { text := k.readRecord(); k.record(strings.Replace(text, `"two"`, `"one"`, 1)) }, Unproven, "duplicate"},
		"cut": {func(k *testLayer) {
			k.noError(os.Truncate(filepath.Join(k.root, k.recordName()), 150))
		}, Unproven, "tar-split.json.gz"},
		"a name a terminal obeys": {func(k *testLayer) {
			text := k.readRecord()
			raw := base64.StdEncoding.EncodeToString([]byte("\x1b[2J/x"))
			k.record(strings.Replace(text, `"name":"two"`, `"name_raw":"`+raw+`"`, 1))
			k.noError(os.Symlink("\x1b[2J", filepath.Join(k.home, "a/diff/\x1b[2J")))
		}, Changed, `\x1b[2J`},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTestLayer(t)
			tt.spoil(&k)
			r := k.verify()
			if r.Status != tt.want || !strings.Contains(r.Reason, tt.says) || strings.Contains(r.Reason, "\x1b") {
				t.Errorf("%+v", r)
			}
		})
	}
}
