package snapshotter

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
)

func TestRootOf(t *testing.T) {
	for text, want := range map[string]int{
		"0:1000:1":                 1000,
		"0:0:4294967295":           0,
		"1:5:1,0:2000:1":           2000,
		"0:100000:65536,65536:1:1": 100000,
	} {
		if got, err := hostRootOf("label", text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", ",", "0:1", "0:1:0", "0:1:1:1", "-1:0:1", "0:-1:1", "0:4294967295:1", "4294967295:0:1", "1:0:1",
		"0:1:99999999999999999999", "a:b:c", " 0:1:1", "0:1:1,", "00:1:1", "0:+1:1", "0:1:1\x00", "0:1:1,lowerdir=/",
	} {
		if got, err := hostRootOf("label", text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestOwnerFromLabels(t *testing.T) {
	if o, err := ownerFrom(map[string]string{"x": "y"}); o != nil || err != nil {
		t.Errorf("without maps: %v, %v", o, err)
	}
	if _, err := ownerFrom(map[string]string{snapshots.LabelSnapshotUIDMapping: "0:1:1"}); err == nil {
		t.Error("a map of users alone was taken")
	}
}

// TestLabelsSmuggleNoOption: they can be changed after they were checked.
func TestLabelsSmuggleNoOption(t *testing.T) {
	s := openFake(t, t.TempDir(), newFakeStore(), Options{RemapIDs: true})
	r := record{info: snapshots.Info{Labels: map[string]string{snapshots.LabelSnapshotUIDMapping: "0:1:1,upperdir=/", snapshots.LabelSnapshotGIDMapping: "0:1:1"}}}
	if o, err := s.idMapOptions(t.Context(), r); o != nil || err != nil {
		t.Errorf("an option was smuggled in: %v, %v", o, err)
	}
}

// TestChownedCopiesAreNotMapped: a containerd without the capability remap-ids
// gives a copy of the image to the container's owners, and sets the labels all
// the same.
func TestChownedCopiesAreNotMapped(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{RemapIDs: true})
	image(t, s, "base", "copy")
	copied, err := s.find(t.Context(), "copy")
	if err != nil {
		t.Fatal(err)
	}
	f.layers[copied.id].owner = owner{100000, 100000}
	labels := snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: "0:100000:65536", snapshots.LabelSnapshotGIDMapping: "0:100000:65536",
	})
	for parent, want := range map[string]int{"base": 2, "copy": 0} {
		mounts, err := s.Prepare(t.Context(), "on "+parent, parent, labels)
		if err != nil || len(mounts[0].Options) != want {
			t.Errorf("on %s: %v, %v", parent, mounts, err)
		}
		again, err := s.Mounts(t.Context(), "on "+parent)
		if err != nil || len(again[0].Options) != want {
			t.Errorf("later on %s: %v, %v", parent, again, err)
		}
	}
}

func FuzzIDMap(f *testing.F) {
	f.Add("0:1000:1")
	f.Add("0:100000:65536,65536:1:1")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := hostRootOf("label", text)
		if err == nil && (id < 0 || id >= invalidID || strings.ContainsFunc(text, func(r rune) bool {
			return r != ':' && r != ',' && (r < '0' || r > '9')
		})) {
			t.Errorf("%q is %d", text, id)
		}
	})
}
