package quota

import (
	"errors"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// attach mounts the layer's dataset unless it is.
func (d *datasets) attach(p Layer, r Record) error {
	attached, err := d.attached(p)
	if err != nil {
		return err
	}
	if !attached {
		if err := zfs.MountDataset(d.name(p.Key), filepath.Join(p.Dir, UpperName)); err != nil {
			return d.explainMissing(p.Key, err)
		}
	}
	return d.watchOver(p, r)
}

// watchOver begins to watch a layer that was not watched. Whatever limit was
// left in force, by a rollback or a freeze, the recorded one is.
func (d *datasets) watchOver(p Layer, r Record) error {
	if d.watch.has(p.Key) {
		return nil
	}
	if err := d.limit(p, r); err != nil && !errors.Is(err, zfs.ErrNoSpace) { // it holds more: it can delete
		return err
	}
	d.watch.add(p, r)
	return nil
}

// attached reports whether the layer's dataset is mounted where it belongs. It
// asks the mount table: somebody may have unmounted it, or have mounted
// something else, which is an error.
func (d *datasets) attached(p Layer) (bool, error) {
	upper := filepath.Join(p.Dir, UpperName)
	top, err := mountedOn(upper)
	if err != nil || top == nil {
		return false, err
	}
	if top.Source == d.name(p.Key) {
		return true, nil
	}
	if there, err := d.zfs.Exists(d.name(p.Key)); err == nil && !there {
		return false, d.missing(p.Key, fault.NotFound)
	}
	return false, fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on %q, where dataset %q belongs; unmount it", top.Source, top.FSType, upper, d.name(p.Key))
}

// mountedOn is what one sees in a directory that something is mounted on, or
// nil.
func mountedOn(dir string) (*mount.Info, error) {
	mounts, err := mount.ListAt(dir)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	return mounts[len(mounts)-1], nil
}

// explainMissing says what to do when a layer's dataset is not where it was.
func (d *datasets) explainMissing(key string, err error) error {
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	return d.missing(key, err)
}

func (d *datasets) missing(key string, why error) error {
	return fault.New(fault.NotFound, "dataset %s, which held what this limited container wrote, is gone: destroyed or renamed; rename it back (`zfs list -o name,%s` shows which it is), or remove the container (%w)", d.name(key), LayerProperty, why)
}

// detach unmounts whatever ZFS file system is there: the layer's dataset may
// have been renamed while it was mounted, and mounted more than once.
func (d *datasets) detach(p Layer, _ Record) error {
	d.watch.remove(p.Key)
	upper := filepath.Join(p.Dir, UpperName)
	for {
		top, err := mountedOn(upper)
		if err != nil || top == nil {
			return err
		}
		if top.FSType != "zfs" {
			return fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on %q, over dataset %q; unmount it", top.Source, top.FSType, upper, d.name(p.Key))
		}
		if err := unmount(upper); err != nil {
			return err
		}
	}
}

// unmount also takes away a mount in which a file is still open: it ends with
// its last user.
func unmount(dir string) error {
	err := mount.Unmount(dir)
	if errors.Is(err, fault.Busy) {
		return mount.Detach(dir)
	}
	return err
}
