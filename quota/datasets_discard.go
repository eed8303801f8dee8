package quota

import (
	"context"
	"errors"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// discard destroys the layer's dataset. A dataset with snapshots stays as long as they do,
// because a rollback needs it.
func (d *datasets) discard(_ context.Context, key string, r Record) error {
	name := d.datasetName(key)
	d.watch.forget(key)
	mine, err := d.isLayersDataset(name, r)
	if err != nil || !mine {
		return err
	}
	if err := d.unmountUnfinished(name); err != nil {
		return err
	}
	err = d.zfs.Destroy(name)
	if err == nil || errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	snapshots, look := zfs.Collect(d.zfs.SnapshotNames(name))
	if look == nil && len(snapshots) > 0 {
		return d.keepForSnapshots(key)
	}
	return errors.Join(err, look)
}

// isLayersDataset reports whether a dataset of that name exists and was made for the layer.
// Another dataset lacks the property, or inherits it. A layer's dataset that was a spare may not
// have its name yet.
func (d *datasets) isLayersDataset(name string, r Record) (bool, error) {
	stats, err := d.zfs.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	property, _ := stats.Property(LayerProperty)
	if d.isOurs(stats) && (r.Layer == "" || property.String() == r.Layer || property.String() == SpareLayer) || r.Layer != "" && isUnfinished(stats) {
		return true, nil
	}
	logrus.WithField("dataset", name).Warnf("the dataset is not destroyed: its property %s does not name layer %s", LayerProperty, r.Layer)
	return false, nil
}

// isUnfinished reports whether a dataset with a record may have been in the making. ZFS makes
// a dataset before it sets the properties, and the power can go in between. The dataset is
// empty then.
func isUnfinished(stats zfs.Dataset) bool {
	const empty = 1 << 20
	return stats.Type == zfs.Filesystem && stats.Referenced() < empty && !stats.IsLocalOrReceived(LayerProperty) && !stats.IsLocalOrReceived(storeProperty)
}

// isOurs reports whether a dataset was made for a layer of this store.
func (d *datasets) isOurs(stats zfs.Dataset) bool {
	store, _ := stats.Property(storeProperty)
	return stats.IsLocalOrReceived(LayerProperty) && stats.IsLocalOrReceived(storeProperty) && store.String() == d.store
}

// unmountUnfinished unmounts the dataset of a layer whose creation a crash interrupted. It
// looks only below the staging directory, and leaves an administrator's own mounts alone.
func (d *datasets) unmountUnfinished(name string) error {
	mounts, err := mount.ListBelow(d.staging)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Source == name {
			err = errors.Join(err, unmountOrDetach(m.Mountpoint))
		}
	}
	return err
}

// sweep destroys the datasets of removed layers. Those with snapshots move below the parent of
// removed layers, and go when their snapshots do.
func (d *datasets) sweep(ctx context.Context, all func() (map[string]*Record, error)) error {
	children, err := zfs.Collect(d.zfs.Children(d.parent))
	if err != nil {
		return err
	}
	recorded, err := all()
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := strings.TrimPrefix(child.Name, d.parent+"/")
		if _, found := recorded[key]; found || !IsKey(key) || !d.isOurs(child) {
			continue
		}
		if layer, _ := child.Property(LayerProperty); d.mayHaveKey != nil && d.mayHaveKey(layer.String(), key) {
			logrus.WithFields(logrus.Fields{"dataset": child.Name, "layer": layer.String()}).Warn("the dataset is not destroyed: the layer exists, and the record of its limit is missing")
			continue
		}
		if err := d.discard(ctx, key, Record{}); err != nil {
			logrus.WithError(err).WithField("dataset", child.Name).Warn("cannot destroy the dataset: left for the next start")
		}
	}
	return d.sweepRemoved(ctx)
}
