package snapshot

import (
	"errors"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Config is what a Keeper is made of.
type Config struct {
	ZFS *zfs.Handle

	// Layers is the dataset that holds the store.
	Layers string
	// Records is the dataset that holds Docker's data-root, on the same pool;
	// it may be Layers itself. Empty: snapshots hold layers only, and going
	// back to one does not bring Docker's records back.
	Records string

	Policy Policy

	// Pruned, if set, is called after retention destroyed snapshots, from the
	// goroutine that did. Datasets of removed layers that only those snapshots
	// kept alive can then go.
	AfterPrune func()

	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
}

// check makes sure that the datasets can be snapshotted together.
func (c Config) check() error {
	if c.ZFS == nil {
		return fault.New(fault.Unsupported, "snapshots (%s) need /dev/zfs, which cannot be used here", c.Policy)
	}
	return checkDatasets(c.ZFS, c.Layers, c.Records)
}

// maxName is how long ZFS lets the name of a snapshot be, its dataset's
// included. nameRoom is what of it snapshots of limited layers need.
const (
	maxName  = 255
	nameRoom = len("/") + 26 + len("@overlayzfs-committed-20060102T150405Z-1000")
)

func checkDatasets(z *zfs.Handle, layers, records string) error {
	if _, err := z.DatasetStats(layers); err != nil {
		return err
	}
	if n := len(layers) + nameRoom; n > maxName {
		return fault.New(fault.Invalid, "the name of dataset %s leaves no room for those of snapshots: it may have %d characters", layers, maxName-nameRoom)
	}
	if records == "" || records == layers {
		return nil
	}
	if zfs.PoolOf(records) != zfs.PoolOf(layers) {
		return fault.New(fault.Invalid, "the records dataset %s is not on the pool of the layers dataset %s: a snapshot is of one moment on one pool only; name a dataset on pool %s, or none and have snapshots of layers only", records, layers, zfs.PoolOf(layers))
	}
	stats, err := z.DatasetStats(records)
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		return fault.New(fault.NotFound, "the records dataset %s does not exist: name the dataset that holds Docker's data-root (`findmnt -T /var/lib/docker`), or none and have snapshots of layers only (%w)", records, err)
	case err != nil:
		return err
	case stats.Type != zfs.Filesystem:
		return fault.New(fault.Invalid, "the records dataset %s is a %s, no file system", records, stats.Type)
	}
	return nil
}
