package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// host is a data-root.
type host struct {
	testing.TB
	root string
}

func newHost(t testing.TB) host {
	return host{t, filepath.Join(t.TempDir(), "docker")}
}

func (h host) file(name, content string) {
	h.Helper()
	path := filepath.Join(h.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o640)); err != nil {
		h.Fatal(err)
	}
}

// image makes Docker know an image of one layer.
func (h host) image(driver, layer, tag string) digest.Digest {
	h.Helper()
	diff := digest.FromString(layer)
	config := fmt.Sprintf(`{"os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, diff)
	id := digest.FromString(config)
	base := "image/" + driver
	h.file(base+"/imagedb/content/sha256/"+id.Encoded(), config)
	h.file(base+"/imagedb/metadata/sha256/"+id.Encoded()+"/lastUpdated", "now")
	dir := base + "/layerdb/sha256/" + diff.Encoded()
	for name, content := range map[string]string{"cache-id": layer, "diff": string(diff), "size": "7", "tar-split.json.gz": "split of " + layer} {
		h.file(dir+"/"+name, content)
	}
	h.file(base+"/distribution/v2metadata-by-diffid/sha256/"+diff.Encoded(), "[]")
	h.file(base+"/distribution/diffid-by-digest/sha256/"+digest.FromString("gz"+layer).Encoded(), string(diff))
	h.file(base+"/repositories.json", fmt.Sprintf(`{"Repositories":{"x":{%q:%q}}}`, tag, id))
	return id
}

func (h host) read(driver string) (*dockerstore.Root, *dockerstore.Records) {
	h.Helper()
	docker, err := dockerstore.Open(h.root)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { docker.Close() })
	records, err := docker.Read(driver)
	if err != nil {
		h.Fatal(err)
	}
	return docker, records
}

func carriedIn(t testing.TB, dir string) *overlayzfs.CarriedDir {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &overlayzfs.CarriedDir{Root: root}
}

func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRecordsThereAndBack: what a driver of one name has of images comes out the
// same under a driver of another, and nothing else does.
func TestRecordsThereAndBack(t *testing.T) {
	a, b := newHost(t), newHost(t)
	a.image("overlayzfs:v1", "layer1", "x:1")
	docker, records := a.read("overlayzfs:v1")
	want := files(t, filepath.Join(a.root, "image/overlayzfs:v1"))
	// Records that no image uses do not travel.
	other := digest.FromString("other")
	a.file("image/overlayzfs:v1/layerdb/sha256/"+other.Encoded()+"/cache-id", "layer9")
	a.file("image/overlayzfs:v1/layerdb/mounts/c1/mount-id", "m1")
	a.file("image/overlayzfs:v1/distribution/diffid-by-digest/sha256/"+other.Encoded(), string(other))

	carried := carriedIn(t, t.TempDir())
	if err := Pack(docker, records, carried); err != nil {
		t.Fatal(err)
	}
	from, known, err := Unpack(carried)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for range 2 { // a second time after one that was cut short
		if err := Install(b.root, "user/overlayzfs", from, known); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, files(t, filepath.Join(b.root, "image/user/overlayzfs"))); diff != "" {
			t.Error(diff)
		}
	}
	if got := files(t, b.root); len(got) != len(want) {
		t.Errorf("something else is left: %q", got)
	}
	_, received := b.read("user/overlayzfs")
	if diff := cmp.Diff(records.Images, received.Images); diff != "" {
		t.Error(diff)
	}
	if lost, first := FindConflicts(received, known); len(lost)+len(first) > 0 {
		t.Errorf("%q, %q", lost, first)
	}
}

// TestPackSkipsUnchangedRecords: an incremental stream must not
// grow with unchanged records.
func TestPackSkipsUnchangedRecords(t *testing.T) {
	a := newHost(t)
	a.image("overlayzfs", "layer1", "x:1")
	dir := t.TempDir()
	pack := func() {
		docker, records := a.read("overlayzfs")
		if err := Pack(docker, records, carriedIn(t, dir)); err != nil {
			t.Fatal(err)
		}
	}
	pack()
	kept := filepath.Join(dir, "image/overlayzfs/layerdb/sha256", digest.FromString("layer1").Encoded(), "tar-split.json.gz")
	before, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image/overlayzfs/torn"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.image("overlayzfs", "layer2", "x:2")
	pack()
	after, err := os.Stat(kept)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("it was written again: %v", err)
	}
	_, known, err := Unpack(carriedIn(t, dir))
	if err != nil || len(known.Images) != 2 {
		t.Errorf("%+v, %v", known, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "image/overlayzfs/torn")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what does not belong there stays: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(a.root, "image/overlayzfs/layerdb/sha256", digest.FromString("layer1").Encoded())); err != nil {
		t.Fatal(err)
	}
	docker, records := a.read("overlayzfs")
	if err := Pack(docker, records, carriedIn(t, dir)); !errors.Is(err, fault.Invalid) {
		t.Errorf("records with a gap are sent: %v", err)
	}
}

// TestOnlyRecordsAreCopied: what a stream has beside them could fill the data-root,
// and so could a length that is made up.
func TestOnlyRecordsAreCopied(t *testing.T) {
	a, b := newHost(t), newHost(t)
	a.image("overlayzfs", "layer1", "x:1")
	layer := "image/overlayzfs/layerdb/sha256/" + digest.FromString("layer1").Encoded()
	a.file(layer+"/more", "x")
	docker, records := a.read("overlayzfs")
	if err := Install(b.root, "overlayzfs", docker, records); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(files(t, b.root), func(name string) bool { return strings.HasSuffix(name, "/more") }) {
		t.Error("what is no record is copied")
	}
	for name, length := range map[string]int64{"size": 1 << 20, "descriptor.json": 1 << 30, "tar-split.json.gz": 1 << 40} {
		path := filepath.Join(a.root, layer, name)
		if err := os.WriteFile(path, []byte("7"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, length); err != nil {
			t.Fatal(err)
		}
		if err := Install(newHost(t).root, "overlayzfs", docker, records); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%s of %d bytes: %v", name, length, err)
		}
		if err := os.Truncate(path, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheSameIsTheSame however long it is.
func TestTheSameIsTheSame(t *testing.T) {
	for _, n := range []int{0, 1, 64 << 10, 200_000} {
		content := bytes.Repeat([]byte("x"), n)
		if is, err := haveSameContent(bytes.NewReader(content), bytes.NewReader(content)); !is || err != nil {
			t.Errorf("%d bytes: %v, %v", n, is, err)
		}
		other := append(bytes.Clone(content), 'y')
		if is, err := haveSameContent(bytes.NewReader(content), bytes.NewReader(other)); is || err != nil {
			t.Errorf("%d bytes and one more: %v, %v", n, is, err)
		}
	}
}

// TestFindConflicts compares the receiving host's records with the stream's.
func TestFindConflicts(t *testing.T) {
	b := newHost(t)
	id := b.image("overlayzfs", "layer1", "x:1")
	_, known := b.read("overlayzfs")
	b.image("overlayzfs", "layer2", "mine:1")
	_, local := b.read("overlayzfs")
	lost, first := FindConflicts(local, known)
	if len(lost) != 1 || !strings.Contains(lost[0], "mine:1") || len(first) > 0 {
		t.Errorf("%q, %q", lost, first)
	}
	b.image("overlayzfs", "layer1", "renamed:1")
	_, local = b.read("overlayzfs")
	lost, _ = FindConflicts(local, known)
	if !slices.ContainsFunc(lost, func(l string) bool { return strings.Contains(l, id.Encoded()[:12]) && strings.Contains(l, "renamed:1") }) {
		t.Errorf("a name that only this host has: %q", lost)
	}
	if lost, _ := FindConflicts(local, nil); len(lost) != 2 {
		t.Errorf("where nothing was received: %q", lost)
	}
	local.Containers = []dockerstore.Container{{ID: "c1", Name: "front"}}
	local.OtherLayers = map[string]string{"bk": dockerstore.BuildCache}
	if _, first := FindConflicts(local, known); len(first) != 2 || !strings.Contains(first[0], "docker rm c1") || !strings.Contains(first[1], "builder prune") {
		t.Errorf("%q", first)
	}
}

// TestKnownRecordsAreNoConflict: a data-root whose receive was cut short has what
// came before the stream, or what came with it.
func TestKnownRecordsAreNoConflict(t *testing.T) {
	before, now := newHost(t), newHost(t)
	before.image("overlayzfs", "layer1", "x:1")
	now.image("overlayzfs", "layer2", "x:1") // the name is another image's now
	_, old := before.read("overlayzfs")
	_, came := now.read("overlayzfs")
	for _, local := range []*dockerstore.Records{old, came} {
		if lost, first := FindConflicts(local, came, old); len(lost)+len(first) > 0 {
			t.Errorf("%q, %q", lost, first)
		}
	}
	if lost, _ := FindConflicts(old, came, nil); len(lost) != 1 {
		t.Errorf("what neither knows: %q", lost)
	}
}

func TestUnnamedLayers(t *testing.T) {
	chain := digest.FromString("x")
	known := &dockerstore.Records{Layers: map[digest.Digest]dockerstore.Layer{chain: {Chain: chain, CacheID: "came"}}}
	seen := []overlayzfs.LayerInfo{{ID: "came"}, {ID: "made"}}
	if ids := FindUnrecordedLayers(seen, known); !slices.Equal(ids, []string{"made"}) {
		t.Errorf("%q", ids)
	}
	if ids := FindUnrecordedLayers(seen, nil); len(ids) != 2 {
		t.Errorf("without records: %q", ids)
	}
}

func TestStrangers(t *testing.T) {
	chain := digest.FromString("x")
	records := &dockerstore.Records{Layers: map[digest.Digest]dockerstore.Layer{chain: {Chain: chain, CacheID: "top"}}}
	seen := []overlayzfs.LayerInfo{
		{ID: "base"}, {ID: "top", Lowers: []string{"base"}, Depth: 1}, {ID: "c-init", Lowers: []string{"top", "base"}, Depth: 2},
		{ID: "c", Lowers: []string{"c-init", "top", "base"}, Depth: 3}, {ID: "bk"},
	}
	got, err := FindForeignLayers(seen, records)
	if want := []string{"c", "c-init", "bk"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	seen[1].Damaged = errors.New("x")
	if _, err := FindForeignLayers(seen, records); err == nil {
		t.Error("a damaged layer passes")
	}
	seen[1].Damaged, seen[1].State = nil, overlayzfs.Building
	if _, err := FindForeignLayers(seen, records); err == nil {
		t.Error("a layer without content passes")
	}
	if _, err := FindForeignLayers(seen[:1], records); err == nil {
		t.Error("a missing layer passes")
	}
}
