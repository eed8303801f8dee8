package zfs

import (
	"errors"
	"os"

	mobymount "github.com/moby/sys/mount"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// noatime is an option of every mount of a dataset: access times of layers are useless and
// would cost a write for each read. mount(2) ignores the dataset's atime property.
const noatime = "noatime"

// MountDataset mounts dataset on the existing directory target.
func MountDataset(dataset, target string) error {
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	if dataset == "none" {
		// moby/sys/mount takes this source for a remount, mounts nothing and reports success.
		return fault.New(fault.Invalid, "a pool called %q cannot be mounted: use another name, or a dataset below it", dataset)
	}
	return explainMount(dataset, mobymount.Mount(dataset, target, "zfs", noatime))
}

// MountDatasetWith is MountDataset with flags instead of noatime.
func MountDatasetWith(dataset, target string, flags uintptr) error {
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	return explainMount(dataset, mount.Mount{Type: "zfs", Source: dataset, Target: target, Flags: flags}.Do())
}

// OpenDatasetReadOnly opens the root of a dataset to be read, by a mount that nobody else
// sees and that ends with the file.
func OpenDatasetReadOnly(dataset string) (*os.File, error) {
	if err := CheckDatasetName(dataset); err != nil {
		return nil, err
	}
	root, err := detachedMount(dataset).OpenDetached()
	return root, explainMount(dataset, err)
}

// OpenSnapshot is OpenDatasetReadOnly for a snapshot, by its full name.
func OpenSnapshot(snap string) (*os.File, error) {
	if err := CheckSnapshotName(snap); err != nil {
		return nil, err
	}
	root, err := detachedMount(snap).OpenDetached()
	return root, explainMount(snap, err)
}

// OpenDataset is OpenDatasetReadOnly for a root that is written through.
func OpenDataset(dataset string) (*os.File, error) {
	if err := CheckDatasetName(dataset); err != nil {
		return nil, err
	}
	root, err := detachedMount(dataset).OpenDetachedWritable()
	return root, explainMount(dataset, err)
}

// detachedMount returns the mount of a dataset or snapshot at no directory. Detached mounts
// are always noatime.
func detachedMount(name string) mount.Mount { return mount.Mount{Type: "zfs", Source: name} }

// explainMount adds cause and remedy to the kernel's refusal.
func explainMount(dataset string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return explainMissing(dataset, err)
	case errors.Is(err, unix.ENODEV):
		return fault.New(fault.Unsupported, "the kernel knows no zfs file system; install OpenZFS 2.2 or later and run `modprobe zfs` (%w)", err)
	case errors.Is(err, unix.EBUSY):
		return fault.NewWithRemedy(fault.Busy, "dataset %q is mounted elsewhere with other options; unmount it there with `zfs unmount %s` (%w)", dataset, dataset, err)
	case errors.Is(err, unix.EACCES):
		return fault.New(fault.Unsupported, "dataset %q is encrypted and its key is not loaded; load it with `zfs load-key $(zfs get -Ho value encryptionroot %s)` (%w)", dataset, dataset, err)
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Unsupported, "mounting needs CAP_SYS_ADMIN (%w)", err)
	case errors.Is(err, unix.EINVAL):
		return fault.New(fault.Invalid, "%q is no file system dataset that can be mounted (%w)", dataset, err)
	}
	return fault.Classify(err)
}

// explainMissing tells a pool that is not imported, or has another name, from a dataset that does
// not exist.
func explainMissing(dataset string, err error) error {
	if pool := PoolOf(dataset); pool != "" {
		if _, look := PoolState(pool); errors.Is(look, ErrNotExist) {
			return fault.New(fault.NotFound, "dataset %q does not exist, because pool %s is not imported; run `zpool import %s`, or name the dataset by the pool's new name (%w)", dataset, pool, pool, err)
		}
	}
	return fault.New(fault.NotFound, "dataset %q does not exist; if it was renamed, name it by its new name, otherwise create it with `zfs create -o mountpoint=legacy %s` (%w)", dataset, dataset, err)
}
