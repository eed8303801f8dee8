package gc

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// makeSnapshots returns a known snapshot on one that containerd does not know, two strays on
// each other with a view on them, and a layer without a snapshot.
func makeSnapshots() (*inventory.Inventory, SnapshotEvidence) {
	e := SnapshotEvidence{
		Root: "/containerd", Snapshotter: "overlayzfs", Known: map[string]bool{"moby/2/rw": true}, Namespaces: map[string]uint64{"moby": 9},
		Backend: []containerdstore.Backend{
			{Name: "moby/1/base", ID: "1", Kind: containerdstore.Committed},
			{Name: "moby/2/rw", ID: "2", Kind: containerdstore.Active, Parent: "moby/1/base"},
			{Name: "moby/3/lower", ID: "3", Kind: containerdstore.Committed, Parent: "moby/1/base"},
			{Name: "moby/4/upper", ID: "4", Kind: containerdstore.Active, Parent: "moby/3/lower"},
			{Name: "moby/5/view", ID: "5", Kind: containerdstore.View, Parent: "moby/3/lower"},
		},
	}
	inv := &inventory.Inventory{Engine: "containerd", Dataset: "tank/layers", Layers: []inventory.Layer{
		{ID: "1", Kind: inventory.Unknown}, {ID: "2", Kind: inventory.Container, Parent: "1", Depth: 1}, {ID: "3", Kind: inventory.Unknown, Parent: "1", Depth: 1},
		{ID: "4", Kind: inventory.Unknown, Parent: "3", Depth: 2}, {ID: "6", Kind: inventory.Unknown}, {ID: "nobodys", Kind: inventory.Unknown},
	}}
	return inv, e
}

func TestOrphanedSnapshotsGo(t *testing.T) {
	p := DecideSnapshots(makeSnapshots())
	if got, want := p.Snapshots, []string{"moby/4/upper", "moby/5/view", "moby/3/lower"}; !slices.Equal(got, want) {
		t.Errorf("the snapshots %q go", got)
	}
	if got, want := ids(p), []string{"4", "3", "6"}; !slices.Equal(got, want) || p.Remaining != 3 || len(p.Obstacles) > 0 {
		t.Errorf("the layers %q go, %d stay, %q", got, p.Remaining, p.Obstacles)
	}
	agreed := p
	agreed.Snapshots = []string{"moby/4/upper"}
	if got := p.Intersect(agreed).Snapshots; !slices.Equal(got, agreed.Snapshots) {
		t.Errorf("%q go", got)
	}
}

func TestDoubtfulSnapshotsAreRefused(t *testing.T) {
	for word, spoil := range map[string]func(*inventory.Inventory, *SnapshotEvidence){
		"another program":       func(_ *inventory.Inventory, e *SnapshotEvidence) { e.Backend[3].Name = "mine" },
		"did not make snapshot": func(_ *inventory.Inventory, e *SnapshotEvidence) { e.Backend[3].Name = "k8s.io/4/upper" },
		"records are older":     func(_ *inventory.Inventory, e *SnapshotEvidence) { e.Namespaces["moby"] = 4 },
		"another containerd":    func(_ *inventory.Inventory, e *SnapshotEvidence) { e.Known["moby/4/other"] = true },
		"Docker's container front": func(_ *inventory.Inventory, e *SnapshotEvidence) {
			e.Containers = []dockerstore.Container{{ID: "upper", Name: "front"}}
		},
		"cannot read a record": func(inv *inventory.Inventory, _ *SnapshotEvidence) { inv.Warnings = []string{"x"} },
		"are incomplete": func(inv *inventory.Inventory, _ *SnapshotEvidence) {
			inv.Gaps = []dockerstore.Gap{{Record: "a", Missing: "b"}}
		},
		"lacks 1 layers": func(inv *inventory.Inventory, _ *SnapshotEvidence) { inv.Missing = []inventory.Missing{{ID: "8"}} },
		"is damaged":     func(inv *inventory.Inventory, _ *SnapshotEvidence) { inv.Layers[1].Damaged = "x" },
		"knows none": func(inv *inventory.Inventory, e *SnapshotEvidence) {
			e.Known, inv.Layers = nil, inv.Layers[:5]
		},
	} {
		inv, e := makeSnapshots()
		spoil(inv, &e)
		if p := DecideSnapshots(inv, e); !slices.ContainsFunc(p.Obstacles, func(why string) bool { return strings.Contains(why, word) }) {
			t.Errorf("%s: %q", word, p.Obstacles)
		}
	}
}

// TestEndlessSnapshots: a parent that comes again in damaged records ends nothing else.
func TestEndlessSnapshots(t *testing.T) {
	inv, e := makeSnapshots()
	e.Backend[0].Parent = "moby/3/lower"
	if p := DecideSnapshots(inv, e); slices.Contains(p.Snapshots, "moby/1/base") || slices.Contains(p.Snapshots, "moby/3/lower") {
		t.Errorf("%q go, which a known snapshot needs", p.Snapshots)
	}
}

func TestMountedSnapshots(t *testing.T) {
	layers := []inventory.Layer{{ID: "4"}}
	for text, m := range map[string]mountinfo.Info{
		"upper": {FSType: "overlay", VFSOptions: "rw,lowerdir=/s/1/diff:/s/3/diff,upperdir=/s/4/diff,workdir=/s/4/work"},
		"lower": {FSType: "overlay", VFSOptions: "ro,lowerdir=/s/4/diff:/s/3/diff"},
		"bind":  {FSType: "zfs", Root: "/4/diff"},
	} {
		if why := findMountedSnapshots(layers, []*mount.Info{&m}); len(why) != 1 {
			t.Errorf("%s: %q", text, why)
		}
	}
	for text, m := range map[string]mountinfo.Info{
		"another":  {FSType: "overlay", VFSOptions: "rw,lowerdir=/s/14/diff,upperdir=/s/44/diff"},
		"the home": {FSType: "zfs", Root: "/"},
	} {
		if why := findMountedSnapshots(layers, []*mount.Info{&m}); len(why) != 0 {
			t.Errorf("%s: %q", text, why)
		}
	}
}
