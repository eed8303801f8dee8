package gc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Plan lists the layers to remove.
type Plan struct {
	Engine    string            `json:"-"` // Docker or containerd
	Dataset   string            `json:"dataset"`
	Root      string            `json:"root"`                // Docker's data-root or containerd's root, whose records decided
	Driver    string            `json:"driver"`              // the storage driver or the snapshotter of these records
	Snapshots []string          `json:"snapshots,omitempty"` // of containerd's to remove: children first
	Layers    []inventory.Layer `json:"layers"`              // in the order of removal: children first
	Remaining int               `json:"kept"`                // layers that stay
	// Obstacles are the reasons why nothing is removed.
	Obstacles []string `json:"obstacles,omitempty"`
}

// Reader names the driver or snapshotter whose records decided.
func (p Plan) Reader() string {
	if p.Engine == "containerd" {
		return "snapshotter " + p.Driver
	}
	return "driver " + p.Driver
}

// Evidence is what the decision is based on, besides the inventory.
type Evidence struct {
	Root   string // Docker's data-root
	Driver string // the driver of the inventory's records
	// Records has the records of every driver. A plugin named with and without its tag
	// has two lists of images.
	Records []*dockerstore.Records
	// Unreadable names the records that could not be read at all.
	Unreadable []string
	// Tokens are the plugin's tokens in the data-root, Engine is the store's. They tell
	// whether the records belong to the engine that used the store last.
	Tokens []string
	Engine overlayzfs.Engine
	// OnlyRoot is the operator's word that no other data-root has layers in the store.
	OnlyRoot bool
}

// Decide returns the plan. It changes nothing.
func Decide(inv *inventory.Inventory, e Evidence) Plan {
	p := Plan{Engine: "Docker", Dataset: inv.Dataset, Root: e.Root, Driver: e.Driver, Layers: []inventory.Layer{}}
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

// findLayersInUse returns the layers that a record names, and all layers below them. Each
// layer lists all its lower layers, so a damaged layer between them does no harm.
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
		why = append(why, "BuildKit's records, which might name a layer, are open in another process: stop dockerd")
	}
	for _, warning := range inv.Warnings {
		why = append(why, describeUnread(p.Engine, warning))
	}
	for _, gap := range inv.Gaps {
		why = append(why, describeGap(p.Engine, gap))
	}
	if n := len(inv.Missing); n > 0 {
		why = append(why, fmt.Sprintf("the store lacks %d layers that %s knows (such as %s): the records belong to another store, or images are damaged; `overlayzfs verify` names these", n, p.Engine, inv.Missing[0].ID))
	}
	for _, l := range inv.Layers {
		if l.Damaged != "" && keep[l.ID] {
			why = append(why, fmt.Sprintf("layer %s is damaged, so its lower layers are unknown: %s", l.ID, l.Damaged))
		}
	}
	if p.Remaining == 0 && len(p.Layers) > 0 {
		why = append(why, p.Engine+" knows none of the store's layers: the records belong to another store; to give up the whole store, destroy its dataset")
	}
	return why
}

func describeUnread(engine, warning string) string {
	return "cannot read a record of " + engine + ", which might name a layer: " + warning
}

func describeGap(engine string, gap dockerstore.Gap) string {
	return fmt.Sprintf("%s's records are incomplete, and the missing one might name a layer: %s; restore the missing record, or remove the one that lacks it", engine, gap)
}

// Intersect returns the plan with only those layers that an earlier plan, which the
// operator agreed to, has as well.
func (p Plan) Intersect(agreed Plan) Plan {
	p.Layers = slices.DeleteFunc(slices.Clone(p.Layers), func(l inventory.Layer) bool {
		return !slices.ContainsFunc(agreed.Layers, func(a inventory.Layer) bool { return a.ID == l.ID })
	})
	p.Snapshots = slices.DeleteFunc(slices.Clone(p.Snapshots), func(name string) bool { return !slices.Contains(agreed.Snapshots, name) })
	return p
}
