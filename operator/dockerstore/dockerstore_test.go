package dockerstore

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

const driver = "overlayzfs"

// testRoot is a data-root that a test writes as dockerd does.
type testRoot struct {
	*testing.T
	dir string
}

func newTestRoot(t *testing.T) testRoot { return testRoot{t, t.TempDir()} }

func (s testRoot) write(name, content string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

// layer records a layer and returns its chain.
func (s testRoot) layer(parent digest.Digest, content, cacheID string) digest.Digest {
	s.Helper()
	diff := digest.FromString(content)
	c := chainID(parent, diff)
	dir := "image/" + driver + "/layerdb/sha256/" + c.Encoded() + "/"
	s.write(dir+"cache-id", cacheID)
	s.write(dir+"diff", string(diff))
	s.write(dir+"size", fmt.Sprint(len(content)))
	if parent != "" {
		s.write(dir+"parent", string(parent))
	}
	return c
}

// image records an image with a name, of layers with that content.
func (s testRoot) image(tag string, contents ...string) digest.Digest {
	s.Helper()
	var diffs []string
	for _, content := range contents {
		diffs = append(diffs, string(digest.FromString(content)))
	}
	raw, err := json.Marshal(map[string]any{
		"created": "2026-08-24T10:15:00Z", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		s.Fatal(err)
	}
	id := digest.FromBytes(raw)
	s.write("image/"+driver+"/imagedb/content/sha256/"+id.Encoded(), string(raw))
	s.write("image/"+driver+"/repositories.json", fmt.Sprintf(`{"Repositories":{"x":{%q:%q}}}`, tag, id))
	return id
}

// container records a container with its writable layer.
func (s testRoot) container(id, name, driver string, image, parent digest.Digest) {
	s.Helper()
	s.write("containers/"+id+"/config.v2.json", fmt.Sprintf(
		`{"State":{"Running":true},"ID":%q,"Name":"/%s","Driver":%q,"Image":%q,"Created":"2026-08-24T10:15:00Z","Later":{}}`, id, name, driver, image))
	mount := "image/overlayzfs/layerdb/mounts/" + id + "/"
	s.write(mount+"mount-id", hexID("mount of "+id))
	s.write(mount+"init-id", hexID("mount of "+id)+"-init")
	s.write(mount+"parent", string(parent))
}

func hexID(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func (s testRoot) read() *Records {
	s.Helper()
	r, err := Open(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	records, err := r.Read(driver)
	if err != nil {
		s.Fatal(err)
	}
	return records
}

func TestRecords(t *testing.T) {
	s := newTestRoot(t)
	base := s.layer("", "base", hexID("base"))
	top := s.layer(base, "top", "c4x8p3m0q1w2e3r4t5y6u7i8o")
	image := s.image("x:latest", "base", "top")
	s.container(hexID("c"), "web", driver, image, top)
	s.container(hexID("d"), "elsewhere", "overlay2", image, top)
	s.write("image/"+driver+"/layerdb/sha256/"+base.Encoded()+"-4711-removing/cache-id", "leaving")
	s.builds(map[string]string{"abc": "", "sha256:x": "def"})

	got := s.read()
	if len(got.Damaged) > 0 {
		t.Errorf("damaged: %v", got.Damaged)
	}
	want := map[digest.Digest]Layer{
		base: {Chain: base, Diff: digest.FromString("base"), CacheID: hexID("base"), Size: 4},
		top:  {Chain: top, Parent: base, Diff: digest.FromString("top"), CacheID: "c4x8p3m0q1w2e3r4t5y6u7i8o", Size: 3},
	}
	if diff := cmp.Diff(want, got.Layers); diff != "" {
		t.Error(diff)
	}
	if len(got.Images) != 1 || got.Images[0].ID != image || got.Images[0].Top() != top || !cmp.Equal(got.Images[0].Tags, []string{"x:latest"}) {
		t.Errorf("images: %+v", got.Images)
	}
	if len(got.Containers) != 1 || got.Containers[0].Name != "web" || got.Containers[0].Image != image || !got.Containers[0].Running {
		t.Errorf("containers: %+v", got.Containers)
	}
	if len(got.Mounts) != 2 || got.Mounts[0].Parent != top || !strings.HasSuffix(got.Mounts[0].InitID, "-init") {
		t.Errorf("mounts: %+v", got.Mounts)
	}
	if diff := cmp.Diff(map[string]string{"abc": BuildCache, "sha256:x": BuildCache, "def": BuildCache, "leaving": PendingRemoval}, got.OtherLayers); diff != "" {
		t.Error(diff)
	}
}

// TestDamagedRecordsAreRefused damages one record after another.
func TestDamagedRecordsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(s testRoot, layer, mount, image, container string){
		"another digest":     func(s testRoot, _, _, _, _ string) { s.write("image/overlayzfs/layerdb/sha512/x/diff", "") },
		"no digest":          func(s testRoot, _, _, _, _ string) { s.write("image/overlayzfs/layerdb/sha256/x/diff", "") },
		"another name":       func(s testRoot, layer, _, _, _ string) { s.write(layer+"-x/diff", "") },
		"no size":            func(s testRoot, layer, _, _, _ string) { s.write(layer+"/size", "many") },
		"a negative size":    func(s testRoot, layer, _, _, _ string) { s.write(layer+"/size", "-1") },
		"a path":             func(s testRoot, layer, _, _, _ string) { s.write(layer+"/cache-id", "../../x") },
		"an empty ID":        func(s testRoot, layer, _, _, _ string) { s.write(layer+"/cache-id", "\n") },
		"another diff":       func(s testRoot, layer, _, _, _ string) { s.write(layer+"/diff", string(digest.FromString("x"))) },
		"another algorithm":  func(s testRoot, layer, _, _, _ string) { s.write(layer+"/diff", "sha512:"+strings.Repeat("0", 128)) },
		"a mount's path":     func(s testRoot, _, mount, _, _ string) { s.write(mount+"/mount-id", "/etc") },
		"a mount's init":     func(s testRoot, _, mount, _, _ string) { s.write(mount+"/init-id", "a b") },
		"a mount's parent":   func(s testRoot, _, mount, _, _ string) { s.write(mount+"/parent", "base") },
		"an image's content": func(s testRoot, _, _, image, _ string) { s.write(image, `{"rootfs":{"type":"layers"}}`) },
		"no names":           func(s testRoot, _, _, _, _ string) { s.write("image/overlayzfs/repositories.json", `[`) },
		"a name that is none": func(s testRoot, _, _, _, _ string) {
			s.write("image/overlayzfs/repositories.json", `{"Repositories":{"x":{"x\u001b[2J:latest":"`+string(digest.FromString("x"))+`"}}}`)
		},
		"another container":     func(s testRoot, _, _, _, c string) { s.write(c, `{"ID":"x","Driver":"overlayzfs","State":{}}`) },
		"no container":          func(s testRoot, _, _, _, c string) { s.write(c, `{}`) },
		"a container without":   func(s testRoot, _, _, _, c string) { s.write(filepath.Dir(c)+"x/hostconfig.json", `{}`) },
		"a database that is no": func(s testRoot, _, _, _, _ string) { s.write(buildsName, strings.Repeat("x", 64<<10)) },
		"too long":              func(s testRoot, layer, _, _, _ string) { s.write(layer+"/diff", strings.Repeat("x", maxLine+1)) },
		"a link out": func(s testRoot, layer, _, _, _ string) {
			s.link("/etc/hostname", layer+"/size")
		},
		"a directory": func(s testRoot, layer, _, _, _ string) {
			s.link(".", layer+"/size")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestRoot(t)
			base := s.layer("", "base", hexID("base"))
			image := s.image("x:latest", "base")
			s.container(hexID("c"), "web", driver, image, base)
			if damaged := s.read().Damaged; len(damaged) > 0 {
				t.Fatalf("before: %v", damaged)
			}
			spoil(s, "image/overlayzfs/layerdb/sha256/"+base.Encoded(), "image/overlayzfs/layerdb/mounts/"+hexID("c"),
				"image/overlayzfs/imagedb/content/sha256/"+image.Encoded(), "containers/"+hexID("c")+"/config.v2.json")
			damaged := s.read().Damaged
			if len(damaged) != 1 {
				t.Fatalf("damaged: %v", damaged)
			}
			t.Log(damaged[0])
		})
	}
}

func (s testRoot) link(target, name string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.Remove(path), os.Symlink(target, path)); err != nil {
		s.Fatal(err)
	}
}

// TestUnreadableLayersCountAsPresent: a layer in trouble is not one that Docker
// removed.
func TestUnreadableLayersCountAsPresent(t *testing.T) {
	s := newTestRoot(t)
	chain := s.layer("", "base", "a")
	r, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if gone := digest.FromString("gone"); !r.HasLayer(driver, chain) || r.HasLayer(driver, gone) {
		t.Error("what is there and what is not are not told apart")
	}
	layers := filepath.Join(s.dir, "image", driver, "layerdb/sha256")
	if err := errors.Join(os.RemoveAll(layers), os.Symlink("sha256", layers)); err != nil { // too many links to follow
		t.Fatal(err)
	}
	if !r.HasLayer(driver, chain) {
		t.Error("a layer that cannot be looked at passes for one that is gone")
	}
}

func TestAnotherDriver(t *testing.T) {
	s := newTestRoot(t)
	s.layer("", "base", "a")
	r, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, class := range map[string]fault.Class{"overlay2": fault.NotFound, "../image/overlayzfs": fault.Invalid, "a/../b": fault.Invalid, "a//b": fault.Invalid, "/a": fault.Invalid, "a/b": fault.NotFound, "": fault.Invalid, "..": fault.Invalid} {
		if _, err := r.Read(name); !errors.Is(err, class) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(s.dir, "none")); !errors.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestDescribedVersion(t *testing.T) {
	for description, want := range map[string]string{
		"overlay filesystems on ZFS (v0.2.0-3-gabc, commit 0123456789ab)": "v0.2.0-3-gabc", "a (small) plugin": "", "": "", "(v1": "",
	} {
		if got := DescribedVersion(description); got != want {
			t.Errorf("%q: %q", description, got)
		}
	}
}

func TestPlugins(t *testing.T) {
	s := newTestRoot(t)
	record := `{"plugin":{"Id":%q,"Name":"overlayzfs:latest","Enabled":true,"Settings":{"Env":["OVERLAYZFS_OPTS=overlayzfs.dataset=tank/a"]},"Config":{"Description":"ZFS (v0.1.0, commit 0123)","Interface":{"Types":[%q]}}}}`
	s.write("plugins/"+hexID("a")+"/config.json", fmt.Sprintf(record, hexID("a"), "docker.graphdriver/1.0"))
	s.write("plugins/"+hexID("b")+"/config.json", fmt.Sprintf(record, hexID("b"), "docker.volumedriver/1.0"))
	s.write("plugins/tmp/config.json", "")
	r, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plugins, err := r.Plugins()
	if err != nil || len(plugins) != 1 {
		t.Fatalf("%+v, %v", plugins, err)
	}
	p := plugins[0]
	if !p.HasName("overlayzfs") || !p.HasName("overlayzfs:latest") || p.HasName("overlayzfs:1") || !p.Enabled || p.Version != "v0.1.0" || p.Setting("OVERLAYZFS_OPTS") != "overlayzfs.dataset=tank/a" || p.Setting("X") != "" {
		t.Errorf("%+v", p)
	}
	s.write("plugins/"+hexID("a")+"/propagated-mount/kept", "x")
	if raw, err := r.ReadPluginFile(p, "kept"); err != nil || string(raw) != "x" {
		t.Errorf("%q, %v", raw, err)
	}
	s.write("plugins/"+hexID("a")+"/config.json", "{")
	if _, err := r.Plugins(); err == nil {
		t.Error("what cannot be read is taken for none")
	}
}

// split makes the record of a tar as dockerd does.
func split(t testing.TB, archive []byte) []byte {
	t.Helper()
	var record bytes.Buffer
	z := gzip.NewWriter(&record)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(archive), storage.NewJSONPacker(z), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return record.Bytes()
}

func makeTar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range map[string]string{"a/file": "content", ".wh.gone": "", "empty": ""} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("and what follows the end")
	return b.Bytes()
}

func TestATarComesBackByteForByte(t *testing.T) {
	s := newTestRoot(t)
	c := s.layer("", "base", "a")
	archive := makeTar(t)
	s.write("image/overlayzfs/layerdb/sha256/"+c.Encoded()+"/tar-split.json.gz", string(split(t, archive)))
	r, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for content, whole := range map[string]bool{"content": true, "Content": false, "conten": false} {
		record, err := r.TarSplit(driver, c)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		err = record.WriteTar(&got, func(name string) (io.ReadCloser, error) {
			if name != "a/file" {
				t.Errorf("%q was asked for", name)
			}
			return io.NopCloser(strings.NewReader(content)), nil
		})
		if whole != (err == nil && bytes.Equal(got.Bytes(), archive)) {
			t.Errorf("with %q: %v", content, err)
		}
		if err := record.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.TarSplit(driver, "sha256:../../x"); err == nil {
		t.Error("a path passed for a digest")
	}
}
