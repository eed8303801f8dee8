package verify

import (
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Docker is the Engine of a plugin's store: Docker records each layer's tar.
type Docker struct {
	Root   *dockerstore.Root
	Driver string
}

// OpenTar opens Docker's record of a layer's tar.
func (d Docker) OpenTar(l dockerstore.Layer) (TarRecord, error) {
	record, err := d.Root.TarSplit(d.Driver, l.Chain)
	if err != nil {
		return nil, err // and not a TarRecord that holds a nil TarSplit
	}
	return record, nil
}

// FindRemoved returns the layers that Docker has no record of.
func (d Docker) FindRemoved(layers []dockerstore.Layer) (map[string]bool, error) {
	removed := map[string]bool{}
	for _, l := range layers {
		removed[l.CacheID] = !d.Root.HasLayer(d.Driver, l.Chain)
	}
	return removed, nil
}
