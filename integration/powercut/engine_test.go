package powercut

import (
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// TestThePlanNamesWhatIsBeingRemoved makes sure that the guest learns which containers and images
// may lack their layers, and no others.
func TestThePlanNamesWhatIsBeingRemoved(t *testing.T) {
	b := newEngineBook()
	b.hear(wire.Event{Verb: wire.Begin, Call: "commit", ID: "cut:kept"})
	b.hear(wire.Event{Verb: wire.Begin, Call: wire.RemoveContainer, ID: "cut-removed"})
	b.hear(wire.Event{Verb: wire.Begin, Call: wire.RemoveImage, ID: "cut:other cut:removed"})
	b.look("image", wire.Found{Exists: true}, false)
	plan := b.plan()
	slices.SortFunc(plan, func(a, b wire.Layer) int { return strings.Compare(a.ID, b.ID) })
	want := []wire.Layer{{ID: "cut-removed", Kind: wire.Container}, {ID: "cut:other", Kind: wire.Image}, {ID: "cut:removed", Kind: wire.Image}, {ID: "image", Recorded: true}}
	if !slices.Equal(plan, want) {
		t.Errorf("%+v, want %+v", plan, want)
	}
}
