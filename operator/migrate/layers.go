package migrate

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// item is one layer to copy.
type item struct {
	id     string
	parent string // the layer directly below, or ""; it precedes the layer in a list
	depth  int
	// image is the record of an image layer, or nil for a writable layer.
	image *dockerstore.Layer
	// owner is the container or build that has the writable layer.
	owner string
	// limit has the container's storage options, on the layer that it writes to.
	limit map[string]string
	size  int64 // of an image layer: apparent, less large files' holes once they are measured
}

// listItems lists all layers that Docker has recorded, parents before children.
func listItems(records *dockerstore.Records, options func(container string) (map[string]string, error)) ([]item, error) {
	var items []item
	for _, layer := range records.Layers {
		items = append(items, item{
			id: layer.CacheID, parent: records.Layers[layer.Parent].CacheID, depth: chainDepth(records, layer.Chain), image: &layer, size: layer.Size,
		})
	}
	for _, m := range records.Mounts {
		below, depth := records.Layers[m.Parent].CacheID, chainDepth(records, m.Parent)
		if m.InitID != "" {
			depth++
			items = append(items, item{id: m.InitID, parent: below, depth: depth, owner: m.Name})
			below = m.InitID
		}
		limit, err := options(m.Name)
		if err != nil {
			return nil, err
		}
		items = append(items, item{id: m.MountID, parent: below, depth: depth + 1, owner: m.Name, limit: limit})
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), strings.Compare(a.id, b.id))
	})
	return items, nil
}

// chainDepth returns the number of layers in a chain.
func chainDepth(records *dockerstore.Records, chain digest.Digest) (n int) {
	for chain != "" {
		layer, ok := records.Layers[chain]
		if !ok {
			return n // a gap, which requireComplete refuses
		}
		n, chain = n+1, layer.Parent
	}
	return n
}

// indexByID returns the items by their IDs.
func indexByID(items []item) map[string]item {
	all := make(map[string]item, len(items))
	for _, it := range items {
		all[it.id] = it
	}
	return all
}

// imageNames returns the names of all images that have a layer, for messages.
func imageNames(records *dockerstore.Records, chain digest.Digest) string {
	names := map[string]bool{}
	for _, image := range records.Images {
		if !slices.Contains(image.Chains, chain) {
			continue
		}
		if len(image.Tags) == 0 {
			names[image.ID.Encoded()[:12]] = true
		}
		for _, tag := range image.Tags {
			names[tag] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

func totalSize(items []item) (n int64) {
	for _, it := range items {
		n += it.size
	}
	return n
}
