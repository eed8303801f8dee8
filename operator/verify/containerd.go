package verify

import (
	"cmp"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// Containerd is the Engine of a snapshotter's store: containerd keeps the blob that a layer
// was unpacked from, unless it is configured to discard it.
type Containerd struct {
	root        *containerdstore.Root
	snapshotter string
	blobs       map[digest.Digest][]digest.Digest // by the digest of the tar
}

// NewContainerd returns the Engine of records that were read in root. root is nil where no
// containerd has used the store.
func NewContainerd(root *containerdstore.Root, records *containerdstore.Records) Containerd {
	c := Containerd{root, records.Snapshotter, map[digest.Digest][]digest.Digest{}}
	for _, image := range records.Images {
		for _, m := range image.Manifests {
			for i, diff := range m.Diffs {
				if !slices.Contains(c.blobs[diff], m.Blobs[i]) {
					c.blobs[diff] = append(c.blobs[diff], m.Blobs[i])
				}
			}
		}
	}
	return c
}

// OpenTar makes the record of a layer's tar from its blob.
func (c Containerd) OpenTar(l dockerstore.Layer) (TarRecord, error) {
	if l.Diff == "" {
		return nil, fault.New(fault.NotFound, "containerd has no image with the layer, and so no digest of it")
	}
	record, err := c.root.OpenTar(l.Diff, c.blobs[l.Diff])
	if err != nil {
		return nil, err // and not a TarRecord that holds a nil TarSplit
	}
	return record, nil
}

// FindRemoved returns the layers that containerd has no snapshot of.
func (c Containerd) FindRemoved(layers []dockerstore.Layer) (map[string]bool, error) {
	removed := map[string]bool{}
	chains, err := c.root.SnapshotKeys(c.snapshotter)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		removed[l.CacheID] = !chains[string(l.Chain)]
	}
	return removed, nil
}

// SelectSnapshots returns the layers of a snapshotter's store to compare, sorted by digest:
// all committed snapshots of images, or those of the names.
func SelectSnapshots(inv *inventory.Inventory, names []string) ([]dockerstore.Layer, []dockerstore.Gap, error) {
	wanted := map[string]bool{}
	for _, name := range names {
		found, err := inv.Find(name)
		if err != nil {
			return nil, nil, err
		}
		n := len(wanted)
		for _, l := range found.Layers {
			if l.Chain != "" {
				wanted[l.ID] = true
			}
		}
		if len(wanted) == n && !slices.ContainsFunc(found.Layers, func(l *inventory.Layer) bool { return wanted[l.ID] }) {
			return nil, nil, fault.New(fault.Invalid, "cannot verify %s %q: containerd has no digest of its layers", found.Kind, name)
		}
	}
	chains := map[string]digest.Digest{}
	for _, l := range inv.Layers {
		chains[l.ID] = l.Chain
	}
	var layers []dockerstore.Layer
	for _, l := range inv.Layers {
		if l.Chain != "" && (len(names) == 0 || wanted[l.ID]) {
			layers = append(layers, dockerstore.Layer{Chain: l.Chain, Parent: chains[l.Parent], Diff: l.Diff, CacheID: l.ID, Size: l.Recorded})
		}
	}
	slices.SortFunc(layers, func(a, b dockerstore.Layer) int {
		return cmp.Or(cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.CacheID, b.CacheID))
	})
	return layers, inv.Gaps, nil
}
