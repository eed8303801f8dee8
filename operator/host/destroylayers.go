package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// findLayerDatasets returns the datasets below the layers, the deepest first. It fails for one
// without a property of ours.
func findLayerDatasets(z *zfs.Handle, parent string) (names []string, err error) {
	for child, err := range z.Children(parent) {
		if err != nil {
			return nil, err
		}
		ours := false
		for name := range child.UserProperties() {
			ours = ours || strings.HasPrefix(name, "overlayzfs:") && child.IsLocalOrReceived(name)
		}
		if !ours {
			return nil, fault.New(fault.Exists, "dataset %s lies below the layers and is not one of theirs: move it away with `zfs rename`", child.Name)
		}
		below, err := findLayerDatasets(z, child.Name)
		if err != nil {
			return nil, err
		}
		names = append(append(names, below...), child.Name)
	}
	return names, nil
}

// requireReleased fails when a hold or a clone keeps a snapshot of one of the datasets.
func requireReleased(z *zfs.Handle, names []string) error {
	for _, name := range names {
		for s, err := range z.SnapshotNames(name) {
			if err != nil {
				return err
			}
			d, err := z.DatasetStats(s.Name)
			if errors.Is(err, zfs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if holds, _ := d.Property("userrefs"); holds.Uint() > 0 {
				return fault.NewWithRemedy(fault.Busy, "snapshot %s is held, and not destroyed: `zfs holds %s` shows by what, `zfs release` ends that", s.Name, s.Name)
			}
			if d.Clones > 0 {
				return fault.NewWithRemedy(fault.Busy, "snapshot %s has %d clones, and is not destroyed: promote or destroy them (`zfs get clones %s`)", s.Name, d.Clones, s.Name)
			}
		}
	}
	return nil
}

// destroyWithSnapshots destroys a dataset. It unmounts it where the snapshotter left it, which
// does not know when the last container has ended.
func destroyWithSnapshots(ctx context.Context, z *zfs.Handle, name string) error {
	if err := unmountDataset(name); err != nil {
		return err
	}
	snapshots, err := zfs.Collect(z.SnapshotNames(name))
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	for _, snapshot := range snapshots {
		err = errors.Join(err, z.Destroy(snapshot.Name))
	}
	if err != nil {
		return fmt.Errorf("destroy the snapshots of %s: %w", name, err)
	}
	return z.DestroyRetry(ctx, name)
}

func unmountDataset(name string) error {
	all, err := mount.ListBelow("/")
	for _, m := range slices.Backward(all) {
		if m.FSType == "zfs" && m.Source == name {
			err = errors.Join(err, mount.Unmount(m.Mountpoint))
		}
	}
	return err
}
