package inventory

import (
	"cmp"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Kind is what a layer is to the engine.
type Kind string

// The kinds of layers.
const (
	Image          Kind = "image"       // of an image
	Container      Kind = "container"   // a container's writable layer
	Init           Kind = "init"        // between a container and its image
	BuildCache     Kind = "build cache" // BuildKit's
	Snapshot       Kind = "snapshot"    // of containerd's, and no image's or container's
	PendingRemoval Kind = "leaving"     // Docker removes it at its next start
	Unknown        Kind = "unknown"     // the engine does not know it
)

// Layer is a layer of the store, with what the engine knows about it.
type Layer struct {
	ID     string           `json:"id"`
	Kind   Kind             `json:"kind"`
	State  overlayzfs.State `json:"state"`
	Parent string           `json:"parent,omitempty"`
	Depth  int              `json:"depth"` // how many layers are below
	Lowers []string         `json:"-"`     // their IDs, as far as they are known
	// Snapshot is containerd's key of the layer's snapshot, in the name space Namespace.
	Snapshot  string `json:"snapshot,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// SnapshotName is what the snapshotter calls that snapshot.
	SnapshotName string        `json:"-"`
	Chain        digest.Digest `json:"chain,omitempty"`
	Diff         digest.Digest `json:"diff,omitempty"`
	// Images contain the layer. Containers own it or have it below their writable layer.
	Images     []string `json:"images,omitempty"`
	Containers []string `json:"containers,omitempty"`
	// Recorded is the apparent size that the engine recorded for an image layer.
	Recorded int64  `json:"recorded_size,omitempty"`
	Size     *Size  `json:"size,omitempty"` // absent where it was not measured
	Limit    *Limit `json:"limit,omitempty"`
	Damaged  string `json:"damaged,omitempty"`
	Key      string `json:"key,omitempty"` // short name in the store
}

// Size is the size of a layer, without the layers below it.
type Size struct {
	Apparent  int64 `json:"apparent"`         // lengths of its files
	Allocated int64 `json:"allocated"`        // in the pool, compressed
	Inodes    int64 `json:"inodes,omitempty"` // absent for a layer with its own dataset
}

// Limit is a layer's limit and the mechanism that enforces it.
type Limit struct {
	Bytes   uint64     `json:"bytes,omitempty"`
	Inodes  uint64     `json:"inodes,omitempty"`
	Mode    quota.Mode `json:"mode"`
	Dataset string     `json:"dataset,omitempty"` // the layer's own dataset
	Project uint32     `json:"project,omitempty"`
}

// Missing is a layer that the engine has recorded and the store lacks.
type Missing struct {
	ID    string   `json:"id"`
	Users []string `json:"users,omitempty"` // images and containers
}

// Inventory is a store together with what its engine knows about it.
type Inventory struct {
	Engine  string    `json:"-"` // Docker or containerd
	Dataset string    `json:"dataset"`
	Layers  []Layer   `json:"layers"` // grouped by kind, each after its parent
	Missing []Missing `json:"missing,omitempty"`
	// BuildsLocked is set when BuildKit's records could not be read. Its layers are then
	// known by the form of their IDs only.
	BuildsLocked bool `json:"builds_locked,omitempty"`
	// Gaps are missing records that others refer to.
	Gaps []dockerstore.Gap `json:"gaps,omitempty"`
	// Warnings are records that could not be read.
	Warnings []string `json:"warnings,omitempty"`

	records *Records
}

// Build returns an inventory without sizes. With empty records every layer is unknown.
func Build(dataset string, seen []overlayzfs.LayerInfo, records *Records) *Inventory {
	inv := &Inventory{
		Engine: records.Engine, Dataset: dataset, Layers: []Layer{}, BuildsLocked: records.BuildsLocked,
		Gaps: records.Gaps, Warnings: records.Warnings, records: records,
	}
	there := make(map[string]bool, len(seen))
	for _, s := range seen {
		there[s.ID] = true
		inv.Layers = append(inv.Layers, records.describeLayer(dataset, s))
	}
	for id, use := range records.Uses {
		if !there[id] && !use.Optional {
			inv.Missing = append(inv.Missing, Missing{id, slices.Concat(use.Images, use.Containers)})
		}
	}
	slices.SortFunc(inv.Missing, func(a, b Missing) int { return cmp.Compare(a.ID, b.ID) })
	inv.sort()
	return inv
}

// describeLayer combines a layer of the store with its users.
func (r *Records) describeLayer(dataset string, s overlayzfs.LayerInfo) Layer {
	l := Layer{ID: s.ID, Kind: Unknown, State: s.State, Parent: s.Parent, Depth: s.Depth, Lowers: s.Lowers, Key: s.Key, Limit: describeLimit(dataset, s)}
	if s.Damaged != nil {
		l.Damaged = s.Damaged.Error()
	}
	if use, ok := r.Uses[s.ID]; ok {
		l.Kind, l.Images, l.Containers, l.Snapshot, l.Namespace = use.Kind, use.Images, use.Containers, use.Snapshot, use.Namespace
		l.SnapshotName, l.Chain, l.Diff, l.Recorded = use.SnapshotName, use.Chain, use.Diff, use.Recorded
	} else if r.BuildsLocked && dockerstore.IsBuildKitID(s.ID) {
		l.Kind = BuildCache
	}
	return l
}

// sort groups layers by kind, containers after images, and puts each layer after its
// parent.
func (inv *Inventory) sort() {
	paths := inv.pathsFromBase()
	slices.SortFunc(inv.Layers, func(a, b Layer) int {
		return cmp.Or(
			cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)),
			slices.Compare(paths[a.ID], paths[b.ID]),
		)
	})
}

// pathsFromBase returns for each layer the IDs from its base layer to itself.
func (inv *Inventory) pathsFromBase() map[string][]string {
	parents := make(map[string]string, len(inv.Layers))
	for _, l := range inv.Layers {
		parents[l.ID] = l.Parent
	}
	paths := make(map[string][]string, len(inv.Layers))
	for _, l := range inv.Layers {
		path := []string{}
		for id := l.ID; id != "" && len(path) <= l.Depth; id = parents[id] {
			path = append(path, id)
		}
		slices.Reverse(path)
		paths[l.ID] = path
	}
	return paths
}

func kindRank(k Kind) int {
	return slices.Index([]Kind{Image, Init, Container, BuildCache, Snapshot, PendingRemoval, Unknown}, k)
}

// describeLimit returns a layer's limit, or nil when it has none.
func describeLimit(dataset string, s overlayzfs.LayerInfo) *Limit {
	r := s.Limit
	if r == nil {
		return nil
	}
	l := &Limit{Bytes: r.Bytes, Inodes: r.Inodes, Mode: r.Mode, Project: r.Project}
	if r.Mode == quota.Dataset {
		l.Dataset = dataset + "/" + s.Key
	}
	return l
}
