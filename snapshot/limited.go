package snapshot

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// layerProperty marks the dataset of a limited layer and names the layer. It
// has to be local: below a marked dataset everything inherits it.
const layerProperty = "overlayzfs:layer"

// RemovedProperty says, set locally on the dataset of a limited layer, that the
// layer was removed and that only snapshots keep the dataset. It is in no new
// snapshot then: one would keep it for the next, and so for ever. Going back to
// a snapshot that has it brings the layer back and clears the property.
const RemovedProperty = "overlayzfs:removed"

// keyPattern is what the last component of such a dataset's name looks like.
var keyPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// limitedChildren returns the datasets of limited layers, by name. Other children are
// other people's.
func limitedChildren(z *zfs.Handle, layers string) ([]zfs.Dataset, error) {
	var found []zfs.Dataset
	for child, err := range z.Children(layers) {
		if err != nil {
			return nil, err
		}
		if keyPattern.MatchString(keyOf(layers, child.Name)) && child.Local(layerProperty) && child.Type == zfs.Filesystem {
			found = append(found, child)
		}
	}
	slices.SortFunc(found, func(a, b zfs.Dataset) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// living returns the datasets of layers that were not removed.
func living(children []zfs.Dataset) []zfs.Dataset {
	return slices.DeleteFunc(children, func(child zfs.Dataset) bool { return child.Local(RemovedProperty) })
}

func keyOf(layers, child string) string { return strings.TrimPrefix(child, layers+"/") }
