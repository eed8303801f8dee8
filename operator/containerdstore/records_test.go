package containerdstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// makeRecords writes what containerd records of an image, a pod's container and a leased
// snapshot, beside another snapshotter's.
func makeRecords(r testRoot) testImage {
	i := r.image()
	snapshots := tree{
		"sequence":           uint64(7),
		string(i.chains[0]):  tree{"name": "k8s.io/2/" + string(i.chains[0]), "children": tree{string(i.chains[1]): ""}},
		string(i.chains[1]):  tree{"name": "k8s.io/4/" + string(i.chains[1]), "parent": string(i.chains[0])},
		"box":                tree{"name": "k8s.io/5/box", "parent": string(i.chains[1]), "labels": tree{"a": "b"}},
		"broken":             tree{"parent": "box"},
		"extract-1 sha256:x": tree{"name": "k8s.io/7/extract-1 sha256:x"},
	}
	target := tree{"digest": string(i.target), "mediatype": "x", "size": varint(9)}
	pod := tree{"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.container.name": "nginx"}
	r.write(tree{
		"version": varint(4),
		"k8s.io": tree{
			"labels": tree{"x": "y"},
			"images": tree{"docker.io/library/web:1": tree{"target": target}, "sha256:config": tree{"target": target}, "bad": tree{"target": tree{"digest": "x"}}},
			"containers": tree{
				"box":   tree{"image": "docker.io/library/web:1", "snapshotter": "overlayzfs", "snapshotKey": "box", "labels": pod},
				"other": tree{"image": "docker.io/library/web:1", "snapshotter": "overlayfs", "snapshotKey": "box"},
				"none":  tree{"snapshotter": "overlayzfs"},
			},
			"snapshots": tree{"overlayzfs": snapshots, "overlayfs": tree{"box": tree{"name": "k8s.io/1/box"}}},
			"leases":    tree{"l1": tree{"snapshots": tree{"overlayzfs": tree{"box": ""}}}},
			"sandboxes": tree{"s": tree{"sandboxer": "podsandbox"}},
		},
		"empty": tree{},
	})
	return i
}

func TestRead(t *testing.T) {
	r := newTestRoot(t)
	i := makeRecords(r)
	root := r.open()
	got, err := root.Read("overlayzfs")
	if err != nil {
		t.Fatal(err)
	}
	var damaged []string
	for _, d := range got.Damaged {
		damaged = append(damaged, d.Record)
	}
	if diff := cmp.Diff([]string{"snapshot k8s.io/broken", "container k8s.io/none", "image k8s.io/bad"}, damaged); diff != "" {
		t.Error(diff)
	}
	got.Damaged = nil
	want := &Records{
		Snapshotter: "overlayzfs", Namespaces: map[string]uint64{"k8s.io": 7, "empty": 0},
		Snapshots: []Snapshot{
			{Namespace: "k8s.io", Key: "box", Name: "k8s.io/5/box", Parent: string(i.chains[1]), Leases: []string{"l1"}},
			{Namespace: "k8s.io", Key: "extract-1 sha256:x", Name: "k8s.io/7/extract-1 sha256:x"},
		},
		Containers: []Container{{Namespace: "k8s.io", ID: "box", Image: "docker.io/library/web:1", Key: "box", Name: "shop/web/nginx"}},
		Images: []Image{{
			Namespace: "k8s.io", Target: i.target, Names: []string{"docker.io/library/web:1", "sha256:config"},
			Manifests: []Manifest{{Digest: i.manifest, Config: i.config, Blobs: i.blobs, Diffs: i.diffs, Chains: i.chains}},
		}},
	}
	layers := []Snapshot{
		{Namespace: "k8s.io", Key: string(i.chains[0]), Name: "k8s.io/2/" + string(i.chains[0])},
		{Namespace: "k8s.io", Key: string(i.chains[1]), Name: "k8s.io/4/" + string(i.chains[1]), Parent: string(i.chains[0])},
	}
	if i.chains[0] > i.chains[1] {
		layers[0], layers[1] = layers[1], layers[0]
	}
	want.Snapshots = append(want.Snapshots, layers...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	counts, err := root.Snapshotters()
	if diff := cmp.Diff(map[string]int{"overlayzfs": 5, "overlayfs": 1}, counts); diff != "" || err != nil {
		t.Error(diff, err)
	}
	summary, err := root.Summarize()
	if diff := cmp.Diff(Summary{Schema: 4, Containers: map[string]int{"overlayzfs": 2, "overlayfs": 1}, Pods: true}, summary); diff != "" || err != nil || !summary.IsModern() {
		t.Error(diff, err)
	}
	names, err := root.BackendNames()
	if err != nil || !names["k8s.io/1/box"] || !names["k8s.io/5/box"] {
		t.Errorf("%v, %v", names, err)
	}
	keys, err := root.SnapshotKeys("overlayfs")
	if err != nil || len(keys) != 1 || !keys["box"] {
		t.Errorf("%v, %v", keys, err)
	}
}

// TestLock: a containerd that runs has its records locked, and can be kept from starting.
func TestLock(t *testing.T) {
	r := newTestRoot(t)
	makeRecords(r)
	root := r.open()
	file := filepath.Join(r.dir, metadataName)
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Lock(); !errors.Is(err, fault.Busy) {
		t.Errorf("beside a containerd that runs: %v", err)
	}
	if records, err := root.Read("overlayzfs"); err != nil || len(records.Snapshots) != 4 {
		t.Errorf("beside a containerd that runs: %+v, %v", records, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := root.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: 1}); err == nil {
		db.Close()
		t.Error("containerd starts beside the lock")
	}
	lock.Close()
}

func TestReadBackend(t *testing.T) {
	file := filepath.Join(t.TempDir(), BackendFile)
	record := func(id uint64, kind Kind, parent string) tree {
		b := tree{"id": uvarint(id), "kind": string(rune(kind))}
		if parent != "" {
			b["parent"] = parent
		}
		return b
	}
	top := record(300, Committed, "moby/1/a")
	top["size"], top["inodes"], top["labels"] = varint(4096), varint(2), tree{apparentLabel: "5000"}
	writeDatabase(t, file, tree{"v1": tree{"snapshots": tree{"moby/1/a": record(1, Committed, ""), "moby/2/b": top, "moby/3/c": record(3, View, "moby/1/a")}}})
	read := func(file string) ([]Backend, error) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return ReadBackend(f)
	}
	got, err := read(file)
	want := []Backend{
		{Name: "moby/1/a", ID: "1", Kind: Committed},
		{Name: "moby/2/b", ID: "300", Kind: Committed, Parent: "moby/1/a", Size: 4096, Apparent: 5000},
		{Name: "moby/3/c", ID: "3", Kind: View, Parent: "moby/1/a"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got[2].HasLayer() || !got[1].HasLayer() || !(Backend{Kind: View}).HasLayer() {
		t.Error("a view of a snapshot has a layer, or another snapshot has none")
	}
	for name, b := range map[string]tree{"no number": {"kind": "\x02"}, "no kind": {"id": uvarint(4)}, "another kind": record(4, 9, "")} {
		file := filepath.Join(t.TempDir(), BackendFile)
		writeDatabase(t, file, tree{"v1": tree{"snapshots": tree{"moby/4/d": b}}})
		if _, err := read(file); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitName(t *testing.T) {
	for name, want := range map[string]bool{"moby/12/a/b": true, "moby/x/a": false, "moby/1": false, "/1/a": false, "moby/1/": false, "": false} {
		namespace, number, key, ok := SplitName(name)
		if ok != want || ok && (namespace != "moby" || number != 12 || key != "a/b") {
			t.Errorf("%q: %q, %d, %q, %v", name, namespace, number, key, ok)
		}
	}
}

// TestOpenTar makes records of compressed and plain blobs.
func TestOpenTar(t *testing.T) {
	r := newTestRoot(t)
	i := r.image()
	root := r.open()
	for n, diff := range i.diffs {
		record, err := root.OpenTar(diff, []digest.Digest{digest.FromString("discarded"), i.blobs[n]})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		err = record.ReadEntries(func(e dockerstore.TarEntry) error {
			names = append(names, e.Header.Name)
			return nil
		})
		if err := errors.Join(err, record.Close()); err != nil || len(names) != 1 || names[0] != "file" {
			t.Errorf("%q, %v", names, err)
		}
	}
	if _, err := root.OpenTar(i.diffs[0], nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("a discarded blob: %v", err)
	}
	wrong := digest.FromString("of another tar")
	for name, blob := range map[string][]byte{
		"another tar": makeTar(t, "x"), "no tar": []byte("text"), "cut": compress(t, makeTar(t, "x"))[:40], "zstd": append(zstdMagic, "rest"...), "empty": nil,
	} {
		if _, err := root.OpenTar(wrong, []digest.Digest{r.blob(blob)}); err == nil || errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContainerName(t *testing.T) {
	cri := func(extension, name string) tree {
		return tree{extension: anyOf(`{"Metadata":{"Name":"` + name + `"}}`)}
	}
	for want, c := range map[string]struct{ labels, extensions tree }{
		"":           {},
		"web":        {labels: tree{"nerdctl/name": "web"}},
		"shop/web":   {labels: tree{"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop"}},
		"shop/web/a": {extensions: cri("io.cri-containerd.container.metadata", "a_web_shop_uid_0")},
		"shop/pod":   {extensions: cri("io.cri-containerd.sandbox.metadata", "pod_shop_uid_1")},
	} {
		r := newTestRoot(t)
		container := tree{"snapshotter": "s", "snapshotKey": "k", "extensions": tree{}}
		if c.labels != nil {
			container["labels"] = c.labels
		}
		if c.extensions != nil {
			container["extensions"] = c.extensions
		}
		r.write(tree{"n": tree{"containers": tree{"id": container}}})
		records, err := r.open().Read("s")
		if want == "" {
			want = "id"
		}
		if err != nil || len(records.Containers) != 1 || records.Containers[0].Name != want {
			t.Errorf("%s: %+v, %v", want, records, err)
		}
	}
	for _, hostile := range []string{"a b", "\x1b[2J", strings.Repeat("é", 3)} {
		if name := containerName(map[string]string{nerdctlLabel: hostile}, nil); name != "" {
			t.Errorf("%q is a name", name)
		}
	}
}

// TestFind finds the containerd that uses a snapshotter.
func TestFind(t *testing.T) {
	ours, other, second := newTestRoot(t), newTestRoot(t), newTestRoot(t)
	ours.write(tree{"moby": tree{"snapshots": tree{"overlayzfs": tree{}}}})
	other.write(tree{"moby": tree{"snapshots": tree{"overlayfs": tree{}}}})
	second.write(tree{"moby": tree{"snapshots": tree{"overlayzfs": tree{}}}})
	root, err := Find([]string{t.TempDir(), other.dir, ours.dir, "/nowhere"}, "overlayzfs")
	if err != nil || root.Dir() != ours.dir {
		t.Fatalf("%+v, %v", root, err)
	}
	root.Close()
	if _, err := Find([]string{other.dir}, "overlayzfs"); !errors.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
	if _, err := Find([]string{ours.dir, second.dir}, "overlayzfs"); !errors.Is(err, fault.Invalid) {
		t.Errorf("two: %v", err)
	}
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("version = 3\nroot = '/srv/containerd/'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Candidates(config, "/srv/docker"); !strings.Contains(strings.Join(got, " "), "/srv/containerd /srv/docker/containerd/daemon") {
		t.Errorf("%q", got)
	}
}

// TestRunning: a shim works in the directory of its task.
func TestRunning(t *testing.T) {
	dir := t.TempDir()
	proc, state := filepath.Join(dir, "proc"), filepath.Join(dir, "state")
	task := filepath.Join(state, tasksDir, "moby", "box")
	err := errors.Join(
		os.MkdirAll(filepath.Join(proc, "7"), 0o700), os.MkdirAll(task, 0o700), os.MkdirAll(filepath.Join(proc, "8"), 0o700),
		os.WriteFile(filepath.Join(proc, "7", "comm"), []byte("containerd-shim\n"), 0o600), os.Symlink(task, filepath.Join(proc, "7", "cwd")),
		os.WriteFile(filepath.Join(proc, "8", "comm"), []byte("bash\n"), 0o600), os.Symlink(task+"x", filepath.Join(proc, "8", "cwd")),
		os.WriteFile(filepath.Join(task, "init.pid"), []byte("1\n"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	bundles := findBundles(proc)
	if len(bundles) != 1 || !isRunning(bundles, "moby", "box") {
		t.Errorf("%q", bundles)
	}
	for _, name := range [][2]string{{"moby", "other"}, {"..", "moby"}, {"moby", "../moby/box"}} {
		if isRunning(bundles, name[0], name[1]) {
			t.Errorf("%q runs", name)
		}
	}
	if err := os.WriteFile(filepath.Join(task, "init.pid"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if isRunning(bundles, "moby", "box") {
		t.Error("a process without a number runs")
	}
}
