package inventory

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

// makeStore returns a base layer, two images on it, a container on one, and a layer of each
// other kind.
func makeStore() ([]overlayzfs.LayerInfo, *dockerstore.Records) {
	base, top, other := digest.FromString("base"), digest.FromString("top"), digest.FromString("other")
	records := &dockerstore.Records{
		Layers: map[digest.Digest]dockerstore.Layer{
			base:  {Chain: base, Diff: base, CacheID: "base", Size: 100},
			top:   {Chain: top, Parent: base, CacheID: "top", Size: 10},
			other: {Chain: other, Parent: base, CacheID: "other", Size: 1},
		},
		Images: []dockerstore.Image{
			{ID: digest.FromString("1"), Tags: []string{"one:latest"}, Chains: []digest.Digest{base, top}},
			{ID: digest.FromString("2"), Chains: []digest.Digest{base, other}},
		},
		Containers:  []dockerstore.Container{{ID: "cid", Name: "web", Image: digest.FromString("1"), Running: true}},
		Mounts:      []dockerstore.Mount{{Name: "cid", MountID: "rw", InitID: "rw-init", Parent: top}, {Name: "build1", MountID: "brw", Parent: base}},
		OtherLayers: map[string]string{"cache": dockerstore.BuildCache, "gone": dockerstore.PendingRemoval, "elsewhere": dockerstore.BuildCache},
	}
	var seen []overlayzfs.LayerInfo
	for _, id := range []string{"base", "top", "rw-init", "rw", "brw", "cache", "gone", "stray"} {
		seen = append(seen, overlayzfs.LayerInfo{ID: id, Key: strings.ToUpper(id), State: overlayzfs.Ready})
	}
	return seen, records
}

func (inv *Inventory) layer(id string) Layer {
	i := slices.IndexFunc(inv.Layers, func(l Layer) bool { return l.ID == id })
	return inv.Layers[i]
}

func TestUsersOfLayers(t *testing.T) {
	seen, records := makeStore()
	inv := Build("tank/a", seen, FromDocker(records))
	for id, kind := range map[string]Kind{
		"base": Image, "top": Image, "rw": Container, "rw-init": Init, "brw": Container, "cache": BuildCache, "gone": PendingRemoval, "stray": Unknown,
	} {
		if got := inv.layer(id).Kind; got != kind {
			t.Errorf("%s is %s, want %s", id, got, kind)
		}
	}
	if diff := cmp.Diff([]string{"one:latest", ShortID(digest.FromString("2").Encoded())}, inv.layer("base").Images); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"build1", "web"}, inv.layer("base").Containers); diff != "" {
		t.Error(diff)
	}
	records.BuildsLocked = true
	const build = "c4x8p3m0q1w2e3r4t5y6u7i8o"
	if got := Build("tank/a", append(seen, overlayzfs.LayerInfo{ID: build}), FromDocker(records)).layer(build).Kind; got != BuildCache {
		t.Errorf("while BuildKit's records are locked a layer with its ID is %s", got)
	}
	// A layer that Docker recorded and the store lacks is missing; one that BuildKit gave up is not.
	if len(inv.Missing) != 1 || inv.Missing[0].ID != "other" {
		t.Errorf("missing: %+v", inv.Missing)
	}
}

func TestComputeOvercommit(t *testing.T) {
	seen, records := makeStore()
	for i := range seen {
		if seen[i].ID == "brw" {
			seen[i].Limit = &quota.Record{Mode: quota.Project, Limits: quota.Limits{Bytes: 1000}}
		}
	}
	inv := Build("tank/a", seen, FromDocker(records))
	want := Overcommit{Limited: 1, Limits: 1000, Free: 1000, Unlimited: 1, Divergence: 110, Available: 500, Excess: 610}
	if diff := cmp.Diff(want, inv.ComputeOvercommit(500)); diff != "" {
		t.Error(diff)
	}
	for i := range inv.Layers {
		inv.Layers[i].Size = &Size{Allocated: 900}
	}
	want.Free, want.Available, want.Excess = 100, 210, 0
	if diff := cmp.Diff(want, inv.ComputeOvercommit(210)); diff != "" {
		t.Error(diff)
	}
}

func TestGroups(t *testing.T) {
	seen, records := makeStore()
	inv := Build("tank/a", seen, FromDocker(records))
	var totals Totals
	inv.CountGroups(&totals)
	if got, want := totals.Images, (Group{Count: 2, Active: 1, Layers: 2, Apparent: 110, Shared: 101}); got != want {
		t.Errorf("images %+v, want %+v", got, want)
	}
	if got := totals.Containers; got.Count != 1 || got.Active != 1 || got.Layers != 3 {
		t.Errorf("containers %+v", got)
	}
	if totals.Cache.Count != 1 || totals.Unknown.Count != 2 {
		t.Errorf("cache %+v, unknown %+v", totals.Cache, totals.Unknown)
	}
}

func TestFind(t *testing.T) {
	seen, records := makeStore()
	inv := Build("tank/a", seen, FromDocker(records))
	for name, want := range map[string]string{"web": "container", "one": "image", "one:latest": "image", "stray": "layer", digest.FromString("2").Encoded()[:8]: "image"} {
		f, err := inv.Find(name)
		if err != nil || f.Kind != want || len(f.Layers) == 0 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	f, err := inv.Find("web")
	if err != nil || len(f.Layers) != 4 || f.Layers[0].ID != "base" || f.Layers[3].ID != "rw" || f.Image != "one:latest" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := inv.Find("none"); !errors.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	records.Images = append(records.Images, dockerstore.Image{ID: digest.FromString("0"), Tags: []string{"scratch:latest"}})
	records.Containers = append(records.Containers, dockerstore.Container{ID: "lost", Name: "lost"})
	inv = Build("tank/a", seen, FromDocker(records))
	for _, name := range []string{"scratch", "lost"} {
		f, err := inv.Find(name)
		if raw, marshalErr := json.Marshal(f); errors.Join(err, marshalErr) != nil || !strings.Contains(string(raw), `"layers":[]`) {
			t.Errorf("%s, %v, %v", raw, err, marshalErr)
		}
	}
	records.Containers = append(records.Containers, dockerstore.Container{ID: "x", Name: "one"})
	inv = Build("tank/a", seen, FromDocker(records))
	if _, err := inv.Find("one"); !errors.Is(err, fault.Invalid) {
		t.Errorf("two things of one name: %v", err)
	}
}

// TestLayersOfAStoreInPlace counts layers, not the data-root around them.
func TestLayersOfAStoreInPlace(t *testing.T) {
	inv := &Inventory{Layers: []Layer{
		{Recorded: 100}, {Recorded: 5, Size: &Size{Allocated: 10}}, {Size: &Size{Allocated: 1000}, Limit: &Limit{Mode: quota.Dataset}},
	}}
	totals := Totals{Space: Space{Layers: 1 << 30}}
	totals.measureLayers(inv)
	if totals.Space.Layers != 110 {
		t.Errorf("layers take %d bytes", totals.Space.Layers)
	}
}
