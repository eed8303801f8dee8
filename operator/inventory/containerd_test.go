package inventory

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// containerID is Docker's of a container.
var containerID = digest.FromString("a container").Encoded()

// containerdStore are the records of an image in two name spaces, Docker's container, a
// pod's container, a layer of BuildKit's, one that an image is unpacked into, and one that
// containerd does not know.
type containerdStore struct {
	all  Containerd
	seen []overlayzfs.LayerInfo
}

// add records a snapshot, in both records, with a layer.
func (s *containerdStore) add(id, namespace, key, parent string, kind containerdstore.Kind) {
	name := namespace + "/" + id + "/" + key
	below := ""
	for _, other := range s.all.Records.Snapshots {
		if other.Namespace == namespace && other.Key == parent {
			below = other.Name
		}
	}
	s.all.Records.Snapshots = append(s.all.Records.Snapshots, containerdstore.Snapshot{Namespace: namespace, Key: key, Name: name, Parent: parent})
	s.all.Backend = append(s.all.Backend, containerdstore.Backend{Name: name, ID: id, Kind: kind, Parent: below, Apparent: 100})
	if kind != containerdstore.View {
		s.seen = append(s.seen, overlayzfs.LayerInfo{ID: id, State: overlayzfs.Ready})
	}
}

func makeContainerdStore() *containerdStore {
	base, top := digest.FromString("base"), digest.FromString("top")
	manifest := containerdstore.Manifest{
		Digest: digest.FromString("manifest"), Config: digest.FromString("config"), Blobs: []digest.Digest{"b1", "b2"},
		Diffs: []digest.Digest{base, digest.FromString("diff")}, Chains: []digest.Digest{base, top},
	}
	target := digest.FromString("index")
	s := &containerdStore{all: Containerd{Records: &containerdstore.Records{
		Snapshotter: "overlayzfs",
		Images: []containerdstore.Image{
			{Namespace: "k8s.io", Target: target, Names: []string{"docker.io/library/web:1", "docker.io/library/web@" + string(target), "sha256:abc"}, Manifests: []containerdstore.Manifest{manifest}},
			{Namespace: "moby", Target: target, Names: []string{"docker.io/library/web:1"}, Manifests: []containerdstore.Manifest{manifest}},
			{Namespace: "moby", Target: digest.FromString("on overlayfs"), Names: []string{"other:1"}},
		},
		Containers: []containerdstore.Container{{Namespace: "k8s.io", ID: "pod1", Name: "shop/web/nginx", Image: "docker.io/library/web:1", Key: "pod1", Running: true}},
	}, Containers: []dockerstore.Container{{ID: containerID, Name: "front", Image: target}}}}
	s.add("1", "moby", string(base), "", containerdstore.Committed)
	s.add("2", "moby", string(top), string(base), containerdstore.Committed)
	s.add("3", "moby", containerID+"-init", string(top), containerdstore.Committed)
	s.add("4", "moby", containerID, containerID+"-init", containerdstore.Active)
	s.add("5", "k8s.io", string(base), "", containerdstore.Committed)
	s.add("6", "k8s.io", string(top), string(base), containerdstore.Committed)
	s.add("7", "k8s.io", "pod1", string(top), containerdstore.Active)
	s.add("8", "moby", "c4x8p3m0q1w2e3r4t5y6u7i8o", string(base), containerdstore.Committed)
	s.add("9", "moby", "extract-1 "+string(top), string(base), containerdstore.Active)
	s.add("10", "moby", "look", string(top), containerdstore.View)
	s.all.Backend = append(s.all.Backend, containerdstore.Backend{Name: "moby/11/lost", ID: "11", Kind: containerdstore.Active})
	s.seen = append(s.seen, overlayzfs.LayerInfo{ID: "11"}, overlayzfs.LayerInfo{ID: "12"})
	return s
}

func (s *containerdStore) build() *Inventory {
	return Build("tank/layers", s.seen, FromContainerd(s.all))
}

func TestContainerdKinds(t *testing.T) {
	inv := makeContainerdStore().build()
	for id, kind := range map[string]Kind{
		"1": Image, "2": Image, "3": Init, "4": Container, "5": Image, "7": Container, "8": BuildCache, "9": Snapshot, "11": Unknown, "12": Unknown,
	} {
		if got := inv.layer(id).Kind; got != kind {
			t.Errorf("layer %s is %s, want %s", id, got, kind)
		}
	}
	if len(inv.Layers) != 11 || len(inv.Missing)+len(inv.Gaps) > 0 || inv.Engine != "containerd" {
		t.Errorf("%+v", inv)
	}
	if got := inv.layer("2"); got.Namespace != "moby" || got.Snapshot != string(got.Chain) || got.Diff != digest.FromString("diff") || got.Recorded != 100 ||
		!slices.Equal(got.Images, []string{"web:1"}) || !slices.Equal(got.Containers, []string{"front"}) {
		t.Errorf("%+v", got)
	}
	if got := inv.layer("6"); !slices.Equal(got.Images, []string{"docker.io/library/web:1"}) || !slices.Equal(got.Containers, []string{"shop/web/nginx"}) {
		t.Errorf("%+v", got)
	}
	if got := inv.layer("11").Snapshot; got != "moby/11/lost" {
		t.Errorf("a snapshot that containerd does not know is %q", got)
	}
	if diff := cmp.Diff(map[string][]string{"2": {"web:1"}, "6": {"docker.io/library/web:1"}}, inv.TopLayers()); diff != "" {
		t.Error(diff)
	}
}

func TestFindInContainerd(t *testing.T) {
	inv := makeContainerdStore().build()
	for name, want := range map[string]struct {
		kind   string
		layers int
	}{
		"front": {"container", 4}, containerID[:12]: {"container", 4}, "shop/web/nginx": {"container", 3}, "k8s.io/shop/web/nginx": {"container", 3},
		"moby/web:1": {"image", 2}, "k8s.io/docker.io/library/web:1": {"image", 2}, "4": {"layer", 1}, "k8s.io/pod1": {"layer", 1},
		"c4x8p3m0q1w2e3r4t5y6u7i8o": {"layer", 1}, "moby/11/lost": {"layer", 1},
	} {
		f, err := inv.Find(name)
		if err != nil || f.Kind != want.kind || len(f.Layers) != want.layers {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	f, err := inv.Find("front")
	if err != nil || f.Image != "web:1" || f.Layers[0].ID != "1" || f.Layers[3].ID != "4" || f.Namespace != "moby" || f.Running {
		t.Errorf("%+v, %v", f, err)
	}
	for _, name := range []string{"web:1", digest.FromString("config").Encoded()[:12], string(digest.FromString("base"))} {
		if f, err := inv.Find(name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s is in two name spaces: %+v, %v", name, f, err)
		}
	}
	for name, want := range map[string]string{
		"front": "moby/4/" + containerID, "shop/web/nginx": "k8s.io/7/pod1", "k8s.io/pod1": "k8s.io/7/pod1", "moby/11/lost": "moby/11/lost",
	} {
		if f, err := inv.Find(name); err != nil || f.Layers[len(f.Layers)-1].SnapshotName != want {
			t.Errorf("%s: %+v, %v; its snapshot should be %s", name, f, err, want)
		}
	}
	if _, err := inv.Find("other:1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("an image on another snapshotter: %v", err)
	}
}

func TestContainerdTotals(t *testing.T) {
	inv := makeContainerdStore().build()
	var totals Totals
	inv.CountGroups(&totals)
	if got, want := totals.Images, (Group{Count: 2, Active: 2, Layers: 4, Apparent: 400}); got != want {
		t.Errorf("images %+v, want %+v", got, want)
	}
	if got := totals.Containers; got.Count != 2 || got.Active != 1 || got.Layers != 3 {
		t.Errorf("containers %+v", got)
	}
	if totals.Cache.Count != 1 || totals.Others.Count != 1 || totals.Unknown.Count != 2 {
		t.Errorf("%+v", totals)
	}
	// Each container can copy its image of 200.
	if got := inv.ComputeOvercommit(1000); got.Unlimited != 2 || got.Divergence != 400 {
		t.Errorf("%+v", got)
	}
}

// TestContainerdGaps: what containerd has recorded and the store lacks.
func TestContainerdGaps(t *testing.T) {
	s := makeContainerdStore()
	s.all.Backend = slices.DeleteFunc(s.all.Backend, func(b containerdstore.Backend) bool { return b.ID == "2" })
	s.seen = slices.DeleteFunc(s.seen, func(l overlayzfs.LayerInfo) bool { return l.ID == "5" })
	s.all.Records.Containers[0].Key = "none"
	s.all.Records.Damaged = []containerdstore.Damage{{Record: "image x", Err: errors.New("\x1b")}}
	inv := s.build()
	if len(inv.Missing) != 1 || inv.Missing[0].ID != "5" || len(inv.Gaps) != 2 || len(inv.Warnings) != 1 || strings.Contains(inv.Warnings[0], "\x1b") {
		t.Errorf("missing %+v, gaps %+v, warnings %q", inv.Missing, inv.Gaps, inv.Warnings)
	}
	// A parent that comes again in damaged records ends the chain.
	for i := range s.all.Records.Snapshots {
		s.all.Records.Snapshots[i].Parent = containerID
	}
	s.build()
}
