package gc

import (
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/inventory"
)

func nowhere(string) bool { return false }

// some is a known image and container, and strays: one alone, two on each other,
// one below a known layer.
func some() *inventory.Inventory {
	return &inventory.Inventory{Dataset: "tank/a", Layers: []inventory.Layer{
		{ID: "base", Kind: inventory.Image},
		{ID: "below", Kind: inventory.Unknown, Parent: "base", Depth: 1},
		{ID: "rw", Kind: inventory.Container, Parent: "below", Depth: 2},
		{ID: "cache", Kind: inventory.BuildCache},
		{ID: "leaving", Kind: inventory.Leaving},
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
	p := Decide(some(), nowhere)
	if got, want := ids(p), []string{"upper", "lower", "alone"}; !slices.Equal(got, want) || p.Kept != 5 || len(p.Obstacles) > 0 {
		t.Errorf("%q goes, %d stay, %q", got, p.Kept, p.Obstacles)
	}
	p = Decide(some(), func(id string) bool { return id == "upper" })
	if got, want := ids(p), []string{"alone"}; !slices.Equal(got, want) {
		t.Errorf("with one known elsewhere %q goes", got)
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for word, spoil := range map[string]func(*inventory.Inventory){
		"BuildKit":          func(inv *inventory.Inventory) { inv.BuildsLocked = true },
		"cannot be read":    func(inv *inventory.Inventory) { inv.Warnings = []string{"x"} },
		"does not have":     func(inv *inventory.Inventory) { inv.Missing = []inventory.Missing{{ID: "x"}} },
		"is damaged":        func(inv *inventory.Inventory) { inv.Layers[2].Damaged = "x" },
		"none of the layer": func(inv *inventory.Inventory) { inv.Layers = inv.Layers[5:] },
	} {
		inv := some()
		spoil(inv)
		if p := Decide(inv, nowhere); len(p.Obstacles) != 1 || !strings.Contains(p.Obstacles[0], word) {
			t.Errorf("%s: %q", word, p.Obstacles)
		}
	}
	if p := Decide(&inventory.Inventory{}, nowhere); len(p.Obstacles) > 0 || len(p.Layers) > 0 {
		t.Errorf("an empty store: %+v", p)
	}
}

func TestOnlyWhatWasAgreedToGoes(t *testing.T) {
	agreed := Decide(some(), nowhere)
	later := some()
	later.Layers = append(later.Layers, inventory.Layer{ID: "new", Kind: inventory.Unknown})
	later.Layers[5].Kind = inventory.Image // alone became somebody's
	if got, want := ids(Decide(later, nowhere).Both(agreed)), []string{"upper", "lower"}; !slices.Equal(got, want) {
		t.Errorf("%q goes", got)
	}
}
