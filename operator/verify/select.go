package verify

import (
	"cmp"
	"maps"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// SelectLayers returns the layers to compare, sorted by digest, and the gaps: layers
// whose record is lost. It takes all layers, or those of the names.
func SelectLayers(records *dockerstore.Records, inv *inventory.Inventory, names []string) ([]dockerstore.Layer, []dockerstore.Gap, error) {
	if len(names) == 0 {
		return sortLayers(records.Layers), inv.Gaps, nil
	}
	layers := map[digest.Digest]dockerstore.Layer{}
	var gaps []dockerstore.Gap
	for _, name := range names {
		found, err := inv.Find(name)
		if err != nil {
			return nil, nil, err
		}
		if len(found.Chains) == 0 {
			return nil, nil, fault.New(fault.Invalid, "cannot verify %s %q: Docker has no digest of its layers", found.Kind, name)
		}
		if gap, ok := records.FindGap(found.Kind+" "+found.Name, found.Chains...); ok {
			gaps = append(gaps, gap)
		}
		for _, chain := range found.Chains {
			if layer, ok := records.Layers[chain]; ok {
				layers[chain] = layer
			}
		}
	}
	return sortLayers(layers), gaps, nil
}

func sortLayers(layers map[digest.Digest]dockerstore.Layer) []dockerstore.Layer {
	return slices.SortedFunc(maps.Values(layers), func(a, b dockerstore.Layer) int { return cmp.Compare(a.Chain, b.Chain) })
}
