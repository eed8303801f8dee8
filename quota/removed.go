package quota

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strconv"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// RemovedProperty is set locally on the dataset of a removed layer, which snapshots keep. Its
// value is the transaction group of the newest snapshot at the removal. Snapshots up to that
// one need the dataset: a rollback to them brings the layer back. A later snapshot, which a
// recursive round of another program took, shows a layer that was gone already.
const RemovedProperty = "overlayzfs:removed"

// RemovedParent is the name, below the store's dataset, of the parent of the datasets of
// removed layers. One rule excludes it from replication.
const RemovedParent = "removed"

// removedParentProperty marks the parent as ours.
const removedParentProperty = "overlayzfs:removed-parent"

// isLayers reports whether a dataset was made for a layer of any store. Everything below a
// dataset with the property inherits it, so it has to be the dataset's own.
func isLayers(d zfs.Dataset) bool {
	return IsKey(path.Base(d.Name)) && d.IsLocalOrReceived(LayerProperty) && d.Type == zfs.Filesystem
}

// ListDatasets returns the datasets of limited layers below a store's dataset, by name: those of
// layers that exist, and those of removed layers. Children of others are in neither.
func ListDatasets(z *zfs.Handle, store string) (live, removed []zfs.Dataset, err error) {
	for _, parent := range []string{store, removedParent(store)} {
		children, err := zfs.Collect(z.Children(parent))
		if errors.Is(err, zfs.ErrNotExist) && parent != store {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for _, child := range children {
			switch {
			case !isLayers(child):
			case parent != store || child.IsLocalOrReceived(RemovedProperty):
				removed = append(removed, child)
			default:
				live = append(live, child)
			}
		}
	}
	byName := func(a, b zfs.Dataset) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(live, byName)
	slices.SortFunc(removed, byName)
	return live, removed, nil
}

func removedParent(store string) string { return store + "/" + RemovedParent }

// keepForSnapshots marks a removed layer's dataset, which has snapshots, and moves it below the
// parent of removed layers. Where it cannot be moved it stays, and a later sweep tries again.
func (d *datasets) keepForSnapshots(key string) error {
	stats, err := d.zfs.DatasetStats(d.datasetName(key))
	if err != nil {
		return err
	}
	if _, err := d.markRemoved(stats); err != nil {
		return err
	}
	d.removedMu.Lock()
	defer d.removedMu.Unlock()
	to := removedParent(d.parent) + "/" + key
	if err = d.makeRemovedParent(); err == nil {
		err = d.zfs.Rename(stats.Name, to)
	}
	log := logrus.WithField("dataset", to)
	if err != nil {
		log = logrus.WithError(err).WithField("dataset", stats.Name)
	}
	log.Info("the layer was removed: its dataset stays until its last older snapshot is destroyed")
	return nil
}

// markRemoved sets RemovedProperty, unless it is set, and returns its value. A value that was
// received is of another pool, whose transaction groups have other numbers.
func (d *datasets) markRemoved(stats zfs.Dataset) (newest uint64, err error) {
	if p, _ := stats.Property(RemovedProperty); stats.IsLocal(RemovedProperty) {
		if newest, err = strconv.ParseUint(p.String(), 10, 64); err == nil {
			return newest, nil
		}
	}
	for s, err := range d.zfs.SnapshotNames(stats.Name) {
		if err != nil {
			return 0, err
		}
		newest = max(newest, s.CreateTXG)
	}
	return newest, d.zfs.SetString(stats.Name, RemovedProperty, strconv.FormatUint(newest, 10))
}

// makeRemovedParent makes the parent of removed layers. It refuses a dataset of somebody else
// with that name.
func (d *datasets) makeRemovedParent() error {
	name := removedParent(d.parent)
	err := d.zfs.CreateFilesystem(name, zfs.Properties{
		"mountpoint": zfs.String("legacy"), removedParentProperty: zfs.String("on"), autoSnapshotProperty: zfs.String("false"),
	})
	if !errors.Is(err, zfs.ErrExist) {
		return err
	}
	stats, look := d.zfs.DatasetStats(name)
	if look == nil && stats.IsLocalOrReceived(removedParentProperty) {
		return nil
	}
	return errors.Join(err, look)
}

// sweepRemoved destroys the datasets of removed layers that no older snapshot needs. Their parent
// stays: replication could not go on with another dataset of its name.
func (d *datasets) sweepRemoved(ctx context.Context) error {
	parent := removedParent(d.parent)
	stats, err := d.zfs.DatasetStats(parent)
	if errors.Is(err, zfs.ErrNotExist) || err == nil && !stats.IsLocalOrReceived(removedParentProperty) {
		return nil
	}
	children, err := zfs.Collect(d.zfs.Children(parent))
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.destroyRemoved(child); err != nil {
			logrus.WithError(err).WithField("dataset", child.Name).Warn("cannot destroy the dataset of a removed layer: left for the next look")
		}
	}
	return nil
}

// destroyRemoved destroys a removed layer's dataset, with the snapshots that were taken after
// the removal. It leaves a dataset that an older snapshot needs, and one that a hold, a clone or
// a mount keeps.
func (d *datasets) destroyRemoved(child zfs.Dataset) error {
	if !IsKey(path.Base(child.Name)) || !d.isOurs(child) {
		return nil
	}
	newest, err := d.markRemoved(child)
	if err != nil {
		return err
	}
	var later []string
	for s, err := range d.zfs.SnapshotNames(child.Name) {
		if err != nil || s.CreateTXG <= newest {
			return err
		}
		later = append(later, s.Name)
	}
	if err = d.zfs.DestroySnapshots(later, false); err == nil {
		err = d.zfs.Destroy(child.Name)
	}
	if errors.Is(err, zfs.ErrBusy) || errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	return err
}
