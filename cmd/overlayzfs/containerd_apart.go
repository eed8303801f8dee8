package main

import (
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// usesSnapshotter reports whether the dataset is that of this host's snapshotter.
func (f *storeFlags) usesSnapshotter() (bool, error) {
	dataset, err := host.SnapshotterDataset(host.SnapshotterConfig)
	return dataset != "" && dataset == f.dataset, err
}

// containerdApart returns the root of the containerd whose images and containers the store of
// this host's snapshotter holds, unless it lies on a dataset of which goes is true. It returns
// "" for the plugin's store, for a copy of another host's, and where containerd has no records.
// Layers that come from another moment than these records, or without them, are no use:
// containerd deletes snapshots that it does not know.
func (f *storeFlags) containerdApart(goes func(dataset string) bool) (root string, err error) {
	used, err := f.usesSnapshotter()
	if err != nil || !used {
		return "", err
	}
	if root = f.wanted.ContainerdRoot; root == "" {
		where, err := f.locate()
		if err != nil {
			return "", err
		}
		found, err := containerdstore.Find(containerdstore.Candidates(containerdconf.DefaultFile, where.Root), where.Driver)
		if errors.Is(err, fault.NotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		root = found.Dir()
		if err := found.Close(); err != nil {
			return "", err
		}
	}
	if dataset, err := zfs.DatasetOf(root); err == nil && goes(dataset) {
		return "", nil
	}
	return root, nil
}

// requireContainerdGoesBack refuses a rollback of the snapshotter's layers alone.
func (f *rollbackFlags) requireContainerdGoesBack(goes func(dataset string) bool) error {
	if f.allowed.LayersOnly {
		return nil
	}
	root, err := f.containerdApart(goes)
	if err != nil || root == "" {
		return err
	}
	return fmt.Errorf("roll back %s: containerd's records in %s would not go back, and containerd would lack snapshots that they name: "+
		"pass --records with the dataset of %s, if the snapshot has it, or accept that with --layers-only: %w", f.dataset, root, root, errRefused)
}

// requireContainerdIsSent refuses a backup of the snapshotter's layers without their names.
func (f *backupFlags) requireContainerdIsSent(goes func(dataset string) bool) error {
	root, err := f.containerdApart(goes)
	if err != nil || root == "" {
		return err
	}
	return fmt.Errorf("back up %s: containerd's records in %s are not on a dataset at or below %s, and containerd would delete layers that are "+
		"restored without them: put containerd's root on a dataset below %s, or keep images with `docker save` and containers with `docker export`: %w",
		f.dataset, root, f.records, f.records, errRefused)
}
