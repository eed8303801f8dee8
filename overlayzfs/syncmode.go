package overlayzfs

import (
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// setSync sets the dataset's sync property to what the administrator chose. It
// belongs to all that lies on the dataset, so it is only set on one that the
// store has for itself.
func (d *Driver) setSync(choice string) error {
	if choice == "" {
		return nil
	}
	if d.zfs == nil {
		return fault.New(fault.Unsupported, "overlayzfs.sync=%s needs /dev/zfs; set it with `zfs set sync=%s %s` and drop the option", choice, choice, d.dataset)
	}
	holding, err := mount.FindByPath(string(d.home))
	if err != nil {
		return err
	}
	if holding.Mountpoint != string(d.home) || holding.Root != "/" {
		return fault.New(fault.Invalid, "overlayzfs.sync=%s would change all of dataset %s, of which the store %s is only a directory; give the driver a dataset of its own (overlayzfs.dataset=POOL/NAME), or set the property yourself", choice, d.dataset, d.home)
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil || stats.Sync() == choice {
		return err
	}
	logrus.WithFields(logrus.Fields{"dataset": d.dataset, "from": stats.Sync(), "to": choice}).Warn("overlayzfs.sync sets the dataset's sync property")
	return d.zfs.SetProperty(d.dataset, zfs.Properties{"sync": zfs.String(choice)})
}

// syncAdvice says what the dataset's sync property costs here, and what the
// other choice would risk.
func syncAdvice(sync, copyUp string) string {
	switch sync {
	case "disabled":
		return copyUp + " for a file's first change in a container; a power cut takes up to the last 5 s of what containers wrote, fsync or not (images are safe); sync=standard keeps what was fsynced and waits for a transaction group at each such change"
	default:
		return copyUp + " for a file's first change in a container, which waits for a transaction group; overlayzfs.sync=disabled does not wait, and a power cut then takes up to the last 5 s of what containers wrote, fsync or not (images are safe)"
	}
}
