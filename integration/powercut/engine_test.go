package powercut

import (
	"slices"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// TestThePlanNamesContainersBeingRemoved makes sure that the guest learns which containers may
// lack their layers, and no others.
func TestThePlanNamesContainersBeingRemoved(t *testing.T) {
	b := newEngineBook()
	b.hear(wire.Event{Verb: wire.Begin, Call: "commit", ID: "cut:kept"})
	b.hear(wire.Event{Verb: wire.Begin, Call: wire.RemoveContainer, ID: "cut-removed"})
	b.look("image", wire.Found{Exists: true}, false)
	plan := b.plan()
	want := []wire.Layer{{ID: "image", Recorded: true}, {ID: "cut-removed", Kind: wire.Container}}
	if !slices.Equal(plan, want) {
		t.Errorf("%+v, want %+v", plan, want)
	}
}
