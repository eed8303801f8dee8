package gc

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// whole are records that say nothing, and contradict nothing.
var whole = believed(Evidence{})

// believed are records of the engine that used the store last.
func believed(e Evidence) Evidence {
	e.Root, e.Tokens, e.Engine.Token = "/docker", []string{"before", "now"}, "now"
	return e
}

// makeInventory returns a known image and container, and strays: one alone, two on each other,
// one below a known layer.
func makeInventory() *inventory.Inventory {
	return &inventory.Inventory{Dataset: "tank/a", Layers: []inventory.Layer{
		{ID: "base", Kind: inventory.Image},
		{ID: "below", Kind: inventory.Unknown, Parent: "base", Depth: 1},
		{ID: "rw", Kind: inventory.Container, Parent: "below", Depth: 2},
		{ID: "cache", Kind: inventory.BuildCache},
		{ID: "leaving", Kind: inventory.PendingRemoval},
		{ID: "alone", Kind: inventory.Unknown},
		{ID: "lower", Kind: inventory.Unknown, Parent: "base", Depth: 1},
		{ID: "upper", Kind: inventory.Unknown, Parent: "lower", Depth: 2},
	}}
}

func ids(p Plan) (all []string) {
	for _, l := range p.Layers {
		all = append(all, l.ID)
	}
	return all
}

func TestOnlyWhatNobodyNeedsGoes(t *testing.T) {
	p := Decide(makeInventory(), whole)
	if got, want := ids(p), []string{"upper", "lower", "alone"}; !slices.Equal(got, want) || p.Remaining != 5 || len(p.Obstacles) > 0 {
		t.Errorf("%q goes, %d stay, %q", got, p.Remaining, p.Obstacles)
	}
	p = Decide(makeInventory(), believed(Evidence{Driver: "overlayzfs", Records: []*dockerstore.Records{
		{Driver: "overlayzfs", OtherLayers: map[string]string{"alone": ""}}, // the inventory says what these are
		{Driver: "overlayzfs:latest", Mounts: []dockerstore.Mount{{MountID: "upper"}}},
	}}))
	if got, want := ids(p), []string{"alone"}; !slices.Equal(got, want) {
		t.Errorf("with one known elsewhere %q goes", got)
	}
}

func TestMismatchedRecordsAreRefused(t *testing.T) {
	for word, spoil := range map[string]func(*inventory.Inventory){
		"BuildKit":                  func(inv *inventory.Inventory) { inv.BuildsLocked = true },
		"cannot read":               func(inv *inventory.Inventory) { inv.Warnings = []string{"x"} },
		"lacks 1 layers":            func(inv *inventory.Inventory) { inv.Missing = []inventory.Missing{{ID: "x"}} },
		"is damaged":                func(inv *inventory.Inventory) { inv.Layers[2].Damaged = "x" },
		"none of the store's layer": func(inv *inventory.Inventory) { inv.Layers = inv.Layers[5:] },
	} {
		inv := makeInventory()
		spoil(inv)
		if p := Decide(inv, whole); len(p.Obstacles) != 1 || !strings.Contains(p.Obstacles[0], word) {
			t.Errorf("%s: %q", word, p.Obstacles)
		}
	}
	if p := Decide(&inventory.Inventory{}, whole); len(p.Obstacles) > 0 || len(p.Layers) > 0 {
		t.Errorf("an empty store: %+v", p)
	}
}

// TestADamagedLayerInTheMiddle does not let go what the one above it needs, and is
// an obstacle though no record names it.
func TestADamagedLayerInTheMiddle(t *testing.T) {
	inv := makeInventory()
	for i := range inv.Layers {
		switch l := &inv.Layers[i]; l.ID {
		case "base":
			l.Kind = inventory.Unknown // only what stands on it keeps it
		case "below":
			l.Parent, l.Damaged = "", "x"
		case "rw":
			l.Lowers = []string{"below", "base"}
		}
	}
	p := Decide(inv, whole)
	if slices.Contains(ids(p), "base") || len(p.Obstacles) != 1 || !strings.Contains(p.Obstacles[0], "layer below is damaged") {
		t.Errorf("%q goes, %q", ids(p), p.Obstacles)
	}
}

// TestRecordsThatContradictAreRefused: what is lost might have named a layer.
func TestRecordsThatContradictAreRefused(t *testing.T) {
	gap := dockerstore.Gap{Record: "image x", Missing: "the record of layer y"}
	inv := makeInventory()
	inv.Gaps = []dockerstore.Gap{gap}
	for word, p := range map[string]Plan{
		gap.String():   Decide(inv, whole),
		"image/x is y": Decide(makeInventory(), believed(Evidence{Unreadable: []string{"image/x is y"}})),
		"container c uses the storage driver \"lost\"": Decide(makeInventory(), believed(Evidence{Driver: "a", Records: []*dockerstore.Records{
			{Driver: "a", OtherDrivers: map[string]string{"b": "d", "lost": "c"}}, {Driver: "b", OtherDrivers: map[string]string{"a": "e", "lost": "c"}},
		}})),
		"image/b/x: damaged": Decide(makeInventory(), believed(Evidence{Driver: "a", Records: []*dockerstore.Records{
			{Driver: "b", Damaged: []dockerstore.Damage{{Path: "image/b/x", Err: errors.New("damaged")}}},
		}})),
		"container d (web) lacks the record of its writable layer": Decide(makeInventory(), believed(Evidence{Driver: "a", Records: []*dockerstore.Records{
			{Driver: "b", Containers: []dockerstore.Container{{ID: "d", Name: "web"}}},
		}})),
	} {
		if len(p.Obstacles) != 1 || !strings.Contains(p.Obstacles[0], word) {
			t.Errorf("%s: %q", word, p.Obstacles)
		}
	}
}

// TestOnlyTheLastEnginesRecordsAreBelieved: a data-root that was left behind fits
// the store in all but its token.
func TestOnlyTheLastEnginesRecordsAreBelieved(t *testing.T) {
	for word, spoil := range map[string]func(*Evidence){
		"does not record":       func(e *Evidence) { e.Engine = overlayzfs.Engine{} },
		"do not belong":         func(e *Evidence) { e.Engine.Token = "later" },
		"this version":          func(e *Evidence) { e.Tokens = nil },
		"--only-root":           func(e *Evidence) { e.Engine.Disputed = true },
		"not belong to the eng": func(e *Evidence) { e.Engine, e.OnlyRoot = overlayzfs.Engine{Token: "later", Disputed: true}, true },
	} {
		e := believed(Evidence{Driver: "plugin:1"})
		spoil(&e)
		p := Decide(makeInventory(), e)
		if len(p.Obstacles) != 1 || !strings.Contains(p.Obstacles[0], word) || !strings.Contains(p.Obstacles[0], "driver plugin:1 in data-root /docker") {
			t.Errorf("%s: %q", word, p.Obstacles)
		}
		if p.Root != "/docker" || p.Driver != "plugin:1" {
			t.Errorf("the plan is by the records of %q in %q", p.Driver, p.Root)
		}
	}
	e := believed(Evidence{OnlyRoot: true})
	e.Engine.Disputed = true
	if p := Decide(makeInventory(), e); len(p.Obstacles) > 0 {
		t.Errorf("%q", p.Obstacles)
	}
}

func TestOnlyWhatWasAgreedToGoes(t *testing.T) {
	agreed := Decide(makeInventory(), whole)
	later := makeInventory()
	later.Layers = append(later.Layers, inventory.Layer{ID: "new", Kind: inventory.Unknown})
	later.Layers[5].Kind = inventory.Image // alone became somebody's
	if got, want := ids(Decide(later, whole).Intersect(agreed)), []string{"upper", "lower"}; !slices.Equal(got, want) {
		t.Errorf("%q goes", got)
	}
}
