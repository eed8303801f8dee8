package snapshot

import (
	"errors"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Destroy destroys a snapshot of ours in one step: on the datasets that List names, and on
// those below the records dataset that a backup covers. It returns zfs.ErrBusy, and destroys
// nothing, when a hold or a clone keeps one of them.
func Destroy(z *zfs.Handle, layers string, info Info) error {
	below, err := findBackedUp(z, layers, info)
	if err != nil {
		return err
	}
	return z.DestroySnapshots(snapshotNames(append(below, info.Datasets...), info.Name), false)
}

// findBackedUp returns the datasets below the records dataset, volumes for one, that have the
// snapshot.
func findBackedUp(z *zfs.Handle, layers string, info Info) (datasets []string, err error) {
	if info.Records == "" {
		return nil, nil
	}
	first, err := z.DatasetStats(snapshotName(info.Datasets[0], info.Name))
	if err != nil {
		return nil, err
	}
	for _, records := range info.Datasets { // info.Records may name another host's, or an earlier name
		if records == layers || strings.HasPrefix(records, layers+"/") {
			continue
		}
		below, err := listBelow(z, records, layers)
		if err != nil {
			return nil, err
		}
		for _, dataset := range below {
			s, err := z.DatasetStats(snapshotName(dataset.Name, info.Name))
			switch {
			case errors.Is(err, zfs.ErrNotExist):
			case err != nil:
				return nil, err
			case isOurs(s) && layersGUID(s) == layersGUID(first):
				datasets = append(datasets, dataset.Name)
			}
		}
	}
	return datasets, nil
}
