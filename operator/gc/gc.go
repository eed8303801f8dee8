package gc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Plan is what would be removed.
type Plan struct {
	Dataset   string            `json:"dataset"`
	Root      string            `json:"root"`   // Docker's data-root, by whose records this was decided
	Driver    string            `json:"driver"` // the storage driver that these are of
	Layers    []inventory.Layer `json:"layers"` // in the order of removal: what stands on others first
	Remaining int               `json:"kept"`   // layers that stay
	// Obstacles are why nothing is removed.
	Obstacles []string `json:"obstacles,omitempty"`
}

// Evidence is what Docker's records say.
type Evidence struct {
	Root   string // Docker's data-root
	Driver string // that the inventory was taken with
	// Records are those of every driver: the same plugin with and without its
	// tag has two lists of images.
	Records []*dockerstore.Records
	// Unreadable is what could not be read at all.
	Unreadable []string
	// Tokens are what the plugin keeps in the data-root, and Engine is what the
	// store remembers: whether these are the records of the engine that used it last.
	Tokens []string
	Engine overlayzfs.Engine
	// OnlyRoot: somebody knows that no other data-root has layers here.
	OnlyRoot bool
}

// Decide makes the plan.
func Decide(inv *inventory.Inventory, e Evidence) Plan {
	p := Plan{Dataset: inv.Dataset, Root: e.Root, Driver: e.Driver, Layers: []inventory.Layer{}}
	keep := findLayersInUse(inv, e.otherDriversLayers())
	for _, l := range inv.Layers {
		if !keep[l.ID] {
			p.Layers = append(p.Layers, l)
		}
	}
	p.Remaining = len(inv.Layers) - len(p.Layers)
	slices.SortFunc(p.Layers, func(a, b inventory.Layer) int {
		return cmp.Or(cmp.Compare(b.Depth, a.Depth), cmp.Compare(a.ID, b.ID))
	})
	p.Obstacles = append(e.checkEngine(), findObstacles(inv, p, keep)...)
	for _, why := range e.checkOtherDrivers() {
		if !slices.Contains(p.Obstacles, why) { // containers are every driver's to read
			p.Obstacles = append(p.Obstacles, why)
		}
	}
	return p
}

// findLayersInUse are the layers that a record names, and all below them. Each layer says
// itself what all of these are: one in the middle may be damaged.
func findLayersInUse(inv *inventory.Inventory, elsewhere map[string]bool) map[string]bool {
	layers := make(map[string]inventory.Layer, len(inv.Layers))
	for _, l := range inv.Layers {
		layers[l.ID] = l
	}
	keep := map[string]bool{}
	var hold func(id string)
	hold = func(id string) {
		if id == "" || keep[id] {
			return
		}
		keep[id] = true
		hold(layers[id].Parent)
		for _, lower := range layers[id].Lowers {
			hold(lower)
		}
	}
	for _, l := range inv.Layers {
		if l.Kind != inventory.Unknown || elsewhere[l.ID] {
			hold(l.ID)
		}
	}
	return keep
}

func findObstacles(inv *inventory.Inventory, p Plan, keep map[string]bool) (why []string) {
	if inv.BuildsLocked {
		why = append(why, "somebody has BuildKit's records open, and they might name a layer")
	}
	for _, warning := range inv.Warnings {
		why = append(why, describeUnread(warning))
	}
	for _, gap := range inv.Gaps {
		why = append(why, describeGap(gap))
	}
	if n := len(inv.Missing); n > 0 {
		why = append(why, fmt.Sprintf("Docker knows %d layers that the store does not have, %s first: these records belong to another store, or `overlayzfs verify` says which images are damaged", n, inv.Missing[0].ID))
	}
	for _, l := range inv.Layers {
		if l.Damaged != "" && keep[l.ID] {
			why = append(why, fmt.Sprintf("layer %s is damaged, and what it stands on is not known: %s", l.ID, l.Damaged))
		}
	}
	if p.Remaining == 0 && len(p.Layers) > 0 {
		why = append(why, "Docker knows none of the layers here: these records belong to another store. If the store is to be given up as a whole, destroy its dataset")
	}
	return why
}

func describeUnread(warning string) string {
	return "a record of Docker cannot be read, and might name a layer: " + warning
}

func describeGap(gap dockerstore.Gap) string {
	return fmt.Sprintf("Docker's records are not whole, and what is lost might name a layer: %s. Bring the record back, or remove what lacks it", gap)
}

// Intersect are the layers of a plan that an earlier one had, too: what was agreed to.
func (p Plan) Intersect(agreed Plan) Plan {
	p.Layers = slices.DeleteFunc(slices.Clone(p.Layers), func(l inventory.Layer) bool {
		return !slices.ContainsFunc(agreed.Layers, func(a inventory.Layer) bool { return a.ID == l.ID })
	})
	return p
}
