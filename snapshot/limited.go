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

func keyOf(layers, child string) string { return strings.TrimPrefix(child, layers+"/") }
