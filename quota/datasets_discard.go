package quota

import (
	"context"
	"errors"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// discard destroys the layer's dataset. One that has snapshots stays for as
// long as they do: a rollback needs it.
func (d *datasets) discard(_ context.Context, key string, r Record) error {
	name := d.name(key)
	d.watch.forget(key)
	mine, err := d.mine(name, r)
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
	kept, look := d.hasSnapshots(name)
	if look == nil && kept {
		return d.keepForSnapshots(name)
	}
	return errors.Join(err, look)
}

// keepForSnapshots marks the dataset, so that the snapshots it has are its last.
func (d *datasets) keepForSnapshots(name string) error {
	stats, err := d.zfs.DatasetStats(name)
	if err != nil || stats.IsLocalOrReceived(RemovedProperty) {
		return err
	}
	logrus.WithField("dataset", name).Info("the layer is gone, its dataset stays until its last snapshot goes")
	return d.zfs.SetString(name, RemovedProperty, "on")
}

// mine reports whether there is a dataset of that name that was made for the
// layer. Somebody else's has not the property, or merely inherits it.
func (d *datasets) mine(name string, r Record) (bool, error) {
	stats, err := d.zfs.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	property, _ := stats.Property(LayerProperty)
	if d.ours(stats) && (r.Layer == "" || property.String() == r.Layer) || r.Layer != "" && unfinished(stats) {
		return true, nil
	}
	logrus.WithField("dataset", name).Warnf("left alone: its property %s does not say that it is layer %s's", LayerProperty, r.Layer)
	return false, nil
}

// unfinished reports whether a dataset whose record was written may be one that
// was just being made: ZFS makes it first and sets its properties afterwards, and
// the power can go between the two. Then nothing is in it yet.
func unfinished(stats zfs.Dataset) bool {
	const empty = 1 << 20
	return stats.Type == zfs.Filesystem && stats.Referenced() < empty && !stats.IsLocalOrReceived(LayerProperty) && !stats.IsLocalOrReceived(storeProperty)
}

// ours reports whether a dataset was made for a layer of this store.
func (d *datasets) ours(stats zfs.Dataset) bool {
	store, _ := stats.Property(storeProperty)
	return stats.IsLocalOrReceived(LayerProperty) && stats.IsLocalOrReceived(storeProperty) && store.String() == d.store
}

// unmountUnfinished takes away the mount of a layer whose making a crash
// interrupted. It looks nowhere else: what an administrator mounted for a look
// is not ours.
func (d *datasets) unmountUnfinished(name string) error {
	mounts, err := mount.ListBelow(d.home)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Source == name {
			err = errors.Join(err, unmount(m.Mountpoint))
		}
	}
	return err
}

// hasSnapshots reports whether a dataset has any.
func (d *datasets) hasSnapshots(name string) (bool, error) {
	for _, err := range d.zfs.SnapshotNames(name) {
		return err == nil, err
	}
	return false, nil
}

// sweep destroys the datasets of layers that are gone.
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
		if _, found := recorded[key]; found || !keyPattern.MatchString(key) || !d.ours(child) {
			continue
		}
		if layer, _ := child.Property(LayerProperty); d.owns != nil && d.owns(layer.String(), key) {
			logrus.WithFields(logrus.Fields{"dataset": child.Name, "layer": layer.String()}).Warn("the record of this layer's limit is missing; its dataset is left alone")
			continue
		}
		if err := d.discard(ctx, key, Record{}); err != nil {
			logrus.WithError(err).WithField("dataset", child.Name).Warn("left for the next start")
		}
	}
	return nil
}
