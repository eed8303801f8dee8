package snapshot

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// keyPattern is what the last component of such a dataset's name looks like.
var keyPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// limitedChildren returns the datasets of limited layers, by name. Other children are
// other people's; below a marked dataset everything inherits the mark, so it
// has to be its own.
func limitedChildren(z *zfs.Handle, layers string) ([]zfs.Dataset, error) {
	var found []zfs.Dataset
	for child, err := range z.Children(layers) {
		if err != nil {
			return nil, err
		}
		if keyPattern.MatchString(keyOf(layers, child.Name)) && child.IsLocalOrReceived(quota.LayerProperty) && child.Type == zfs.Filesystem {
			found = append(found, child)
		}
	}
	slices.SortFunc(found, func(a, b zfs.Dataset) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// living returns the datasets of layers that were not removed. The others are in
// no new snapshot: one would keep them for the next, and so for ever. Going back
// to a snapshot that has one brings the layer back and clears the mark.
func living(children []zfs.Dataset) []zfs.Dataset {
	return slices.DeleteFunc(children, func(child zfs.Dataset) bool { return child.IsLocalOrReceived(quota.RemovedProperty) })
}

func keyOf(layers, child string) string { return strings.TrimPrefix(child, layers+"/") }
