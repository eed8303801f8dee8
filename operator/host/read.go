package host

import (
	"errors"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// LayersDataset returns the dataset that holds the store: its own, or the one below
// its directory.
func (l Location) LayersDataset() (string, error) {
	if l.Dataset != "" {
		return l.Dataset, nil
	}
	return zfs.DatasetOf(l.Home)
}

// OpenView opens the store for reading, dockerd running or not.
func (l Location) OpenView() (*overlayzfs.StoreView, error) {
	if l.Dataset == "" {
		return overlayzfs.OpenHomeReadOnly(l.Home)
	}
	return overlayzfs.OpenDatasetReadOnly(l.Dataset)
}

// IsSnapshotters reports whether the store belongs to the snapshotter, whose layers containerd
// records.
func (l Location) IsSnapshotters() (bool, error) {
	view, err := l.OpenView()
	if err != nil {
		return false, err
	}
	door, err := view.Door()
	return door != "", errors.Join(err, view.Close())
}
