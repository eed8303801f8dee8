package overlayzfs

import (
	"context"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// requireNoRollback keeps the store closed while a rollback of it is half done:
// layers and records are not of the same moment then.
func (d *Driver) requireNoRollback() error {
	if d.zfs == nil {
		return nil
	}
	to, err := snapshot.PendingRollback(d.zfs, d.dataset)
	if err == nil && to != "" {
		err = snapshot.UnfinishedError(d.dataset, to)
	}
	return err
}

// startSnapshots begins to take snapshots as the administrator chose.
func (d *Driver) startSnapshots(o Options) (err error) {
	if len(o.Snapshots) > 0 && d.zfs == nil {
		return fault.New(fault.Unsupported, "overlayzfs.snapshots needs /dev/zfs; give the plugin the device, or drop the option")
	}
	if len(o.Snapshots) > 0 && d.mounted && o.Records == d.dataset {
		return fault.New(fault.Invalid, "overlayzfs.snapshots.records=%s names the dataset of the layers; name the one that Docker's data-root lies on (`findmnt -T /var/lib/docker`)", o.Records)
	}
	d.snapshots, err = snapshot.New(snapshot.Config{
		ZFS: d.zfs, Layers: d.dataset, Records: o.Records, Policy: o.Snapshots, AfterPrune: d.sweep,
	})
	return err
}

// sweep destroys datasets that only a snapshot kept.
func (d *Driver) sweep() {
	if err := d.limits.Sweep(context.Background()); err != nil {
		logrus.WithError(err).Warn("datasets of removed layers are left for the next start")
	}
}

// took takes the snapshot of an event that is waited for. The Keeper logs and
// shows what fails; it fails nothing else.
func (d *Driver) took(ctx context.Context, e snapshot.Event) {
	_ = d.snapshots.Take(ctx, e)
}
