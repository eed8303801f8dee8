package powercut

import (
	"slices"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// TestJudgementOfSnapshots: only what is committed passes for whole, and it is,
// whether or not the Commit was answered.
func TestJudgementOfSnapshots(t *testing.T) {
	absent := wire.Found{}
	open := wire.Found{Exists: true, Open: true, Digest: "bbbb.0000"}
	fresh := wire.Found{Exists: true, Open: true, Empty: true, Digest: "eeee.0000"}
	right := wire.Found{Exists: true, Digest: someDigest}
	other := wire.Found{Exists: true, Digest: "bbbb.0000"}
	broken := wire.Found{Exists: true, Open: true, Wrong: "it does not mount"}
	judges(t, Snapshotter, []judgement{
		{wire.Image, "cC", absent, ""},
		{wire.Image, "cC", open, ""},
		{wire.Image, "cC", right, Leftover},
		{wire.Image, "cCf", open, ""},
		{wire.Image, "cCf", right, ""},
		{wire.Image, "cCf", other, Torn},
		{wire.Image, "cCfF", right, ""},
		{wire.Image, "cCfF", open, Lost},
		{wire.Image, "cCfF", absent, Lost},
		{wire.Image, "cCfF", other, Torn},
		{wire.Image, "cCfFrR", right, Back},

		{wire.Step, "c", fresh, ""},
		{wire.Step, "c", open, Torn},
		{wire.Step, "cC", absent, Lost},
		{wire.Step, "cC", open, ""},
		{wire.Step, "cC", right, Leftover},
		{wire.Step, "cCf", open, ""},
		{wire.Step, "cCf", broken, Torn},
		{wire.Step, "cCf", right, ""},
		{wire.Step, "cCf", other, Torn},
		{wire.Step, "cCf", absent, Lost},
		{wire.Step, "cCfF", right, ""},
		{wire.Step, "cCfF", open, Lost},

		{wire.View, "c", absent, ""},
		{wire.View, "c", right, ""},
		{wire.View, "cC", right, ""},
		{wire.View, "cC", absent, Lost},
		{wire.View, "cC", broken, Torn},
		{wire.View, "cCr", absent, ""},
		{wire.View, "cCrR", right, Back},

		// Its creation was waited for, whatever the dataset syncs.
		{wire.Container, "c", absent, ""},
		{wire.Container, "cC", absent, Lost},
		{wire.Container, "cC", open, ""},
	})
}

// TestSnapshotsThatAreDropped: the client drops uncommitted snapshots and those on top of
// them. A view stays.
func TestSnapshotsThatAreDropped(t *testing.T) {
	for _, c := range []struct {
		kind  wire.Kind
		story string
		want  []string
	}{
		{wire.Image, "cCf", []string{"y"}},
		{wire.Image, "cCfF", nil},
		{wire.Step, "cC", []string{"y"}},
		{wire.View, "cC", nil},
		{wire.View, "cCr", []string{"y"}},
	} {
		l := heardFrom(Snapshotter, c.kind, c.story)
		l.byID["y"].Parent = ""
		if drop := l.drops(); !slices.Equal(drop.IDs, c.want) {
			t.Errorf("%s %s: %q, want %q", c.kind, c.story, drop.IDs, c.want)
		}
	}
}

// A view has a record and no layer; all others have a layer by the record's name.
func TestStrangersAmongSnapshots(t *testing.T) {
	l := newList(Snapshotter)
	for id, kind := range map[string]wire.Kind{"image": wire.Image, "view": wire.View} {
		for _, verb := range []wire.Verb{wire.Begin, wire.Done} {
			l.hear(wire.Event{Verb: verb, Call: wire.Create, ID: id, Kind: kind})
		}
	}
	names, drop := l.strangers([]string{"layer image", "view view", "layer view", "view image", "stray 17", "view other"})
	if want := []string{"layer view", "view image", "stray 17", "view other"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if want := []string{"view", "image", "other"}; !slices.Equal(drop.IDs, want) {
		t.Errorf("to be removed: %q, want %q", drop.IDs, want)
	}
}
