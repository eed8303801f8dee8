package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// measureCopyUp measures the cost of the first change of a small file in a container:
// overlayfs copies the file up, and unless sync=disabled ZFS waits for a transaction group
// then. A failure, for example on a full dataset, does not keep the store closed.
func (d *Driver) measureCopyUp(ctx context.Context) {
	took, err := d.timeCopyUp(ctx)
	if err != nil {
		logrus.WithError(err).Info("cannot measure the cost of a copy-up")
		return
	}
	d.copyUp = took.Round(10 * time.Microsecond).String()
}

// timeCopyUp mounts two small directories in staging, which the next start clears.
func (d *Driver) timeCopyUp(ctx context.Context) (took time.Duration, err error) {
	dir := d.home.privatePath(newDir, "copy-up-"+NewShortName())
	defer func() { err = errors.Join(err, removeTree(dir)) }()
	for _, sub := range []string{"lower", "upper", "work", mergedName} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lower", "file"), make([]byte, 4096), 0o600); err != nil {
		return 0, err
	}
	m, err := mount.Overlay{Dir: dir, Target: mergedName, Lowers: []string{"lower"}, Upper: "upper", Work: "work", Off: d.disabledFeatures}.Mount()
	if err != nil {
		return 0, err
	}
	// A copy-up of a file that is not on disk yet waits, whatever sync is.
	if err := d.waitTxg(ctx); err != nil {
		return 0, err
	}
	if err := m.Do(); err != nil {
		return 0, err
	}
	took, err = timeOpen(filepath.Join(dir, mergedName, "file"))
	return took, errors.Join(err, mount.Unmount(filepath.Join(dir, mergedName)))
}

// timeOpen opens a file for writing, which copies it up.
func timeOpen(path string) (time.Duration, error) {
	begin := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("copy up: %w", err)
	}
	return took, f.Close()
}

// setSync sets the dataset's sync property to the administrator's choice. The property
// belongs to everything on the dataset, so setSync refuses a dataset that the store shares.
func (d *Driver) setSync(choice string) error {
	if choice == "" {
		return nil
	}
	if d.zfs == nil {
		return fault.New(fault.Unsupported, "overlayzfs.sync=%s needs /dev/zfs; run `zfs set sync=%s %s` and remove the option", choice, choice, d.dataset)
	}
	holding, err := mount.FindByPath(string(d.home))
	if err != nil {
		return err
	}
	if holding.Mountpoint != string(d.home) || holding.Root != "/" {
		return fault.New(fault.Invalid, "overlayzfs.sync=%s would change all of dataset %s, and the store %s is only a directory on it; give the driver its own dataset (overlayzfs.dataset=POOL/NAME), or set the property yourself", choice, d.dataset, d.home)
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil || stats.Sync() == choice {
		return err
	}
	logrus.WithFields(logrus.Fields{"dataset": d.dataset, "from": stats.Sync(), "to": choice}).Warn("the option overlayzfs.sync changes the dataset's sync property")
	return d.zfs.SetProperty(d.dataset, zfs.Properties{"sync": zfs.String(choice)})
}

// syncAdvice says what the dataset's sync property costs here, and what the other choice
// would risk.
func syncAdvice(sync, copyUp string) string {
	switch sync {
	case "disabled":
		return copyUp + " for a file's first change in a container; a power cut takes up to the last 5 s of what containers wrote, fsync or not (images are safe); sync=standard keeps what was fsynced and waits for a transaction group at each such change"
	default:
		return copyUp + " for a file's first change in a container, which waits for a transaction group; overlayzfs.sync=disabled does not wait, and a power cut then takes up to the last 5 s of what containers wrote, fsync or not (images are safe)"
	}
}
