package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
)

// recover finishes or undoes the unfinished work of the last session. It reads only the
// store's private directories, so ready layers cost nothing. docs/architecture.md lists
// each step of each call and what recover does after a crash there.
func (d *Driver) recover(ctx context.Context) error {
	if err := d.recoverBuilding(ctx); err != nil {
		return err
	}
	if err := detachMounts(d.home.privatePath(newDir)); err != nil {
		return err
	}
	discard := func(dir string) { d.discardLayer(ctx, dir) }
	if err := forEachPath(ctx, d.home.privatePath(newDir), discard); err != nil {
		return err
	}
	if err := forEachPath(ctx, d.home.privatePath(applyDir), d.discardContent); err != nil {
		return err
	}
	if err := d.limits.Recover(ctx, d.findLimitedLayer); err != nil {
		return err
	}
	return forEachPath(ctx, d.home.privatePath(trashDir), d.reaper.enqueue)
}

// detachMounts detaches the mounts that a killed process left in staging: a measurement,
// or the dataset of a limited layer.
func detachMounts(dir string) error {
	mounts, err := mount.ListBelow(dir)
	for _, m := range mounts {
		err = errors.Join(err, mount.Detach(m.Mountpoint))
	}
	return err
}

// recoverBuilding decides about each layer that was created and had no content yet.
func (d *Driver) recoverBuilding(ctx context.Context) error {
	return forEachPath(ctx, d.home.privatePath(buildingDir), func(mark string) {
		id := filepath.Base(mark)
		if err := d.recoverBuildingLayer(id); err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("cannot recover the layer: left for the next start")
		}
	})
}

// recoverBuildingLayer removes a layer to which a diff was being applied, and a layer that
// no caller comes back for. BuildKit records a layer when it is created, so an untouched one
// of BuildKit's is kept. It takes no diff any more: that diff could only be the rest of a
// stream whose beginning the last process read.
func (d *Driver) recoverBuildingLayer(id string) error {
	if d.mayResume == nil || !d.mayResume(id) {
		logrus.WithField("layer", id).Info("layer removed: it was created and never got its content")
		return d.removeLayer(d.home.layer(id))
	}
	err := os.Mkdir(d.home.applyPath(id), 0o700)
	if errors.Is(err, fs.ErrExist) {
		logrus.WithField("layer", id).Info("layer removed: its diff was cut short")
		return d.removeLayer(d.home.layer(id))
	}
	if err != nil {
		return err
	}
	return d.clearMarks(id)
}

// forEachPath calls do with the path of every entry of dir.
func forEachPath(ctx context.Context, dir string, do func(path string)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		do(filepath.Join(dir, entry.Name()))
	}
	return nil
}

// findLimitedLayer tells package quota whether a limited layer exists. It detaches a
// dataset that the last session left attached and no mount uses. It attaches the dataset
// of a mounted layer again, so that its limits are watched.
func (d *Driver) findLimitedLayer(r quota.Record, key string) (quota.Layer, bool) {
	l := d.home.layer(r.Layer)
	quotaLayer := quota.Layer{Key: key, Dir: l.dir()}
	if !l.mayHaveKey(key) {
		return quotaLayer, false
	}
	mounted, err := d.isInUse(l)
	switch {
	case err == nil && mounted:
		err = d.limits.Attach(quotaLayer)
	case err == nil:
		err = d.limits.Detach(quotaLayer)
	}
	warnLeftover(l.dir(), err)
	return quotaLayer, true
}

// isInUse reports whether a limited layer may be mounted. External mounters never report
// unmounts, so an attached dataset counts as in use.
func (d *Driver) isInUse(l layer) (bool, error) {
	if !d.externalMounts {
		return mount.IsOverlay(l.merged())
	}
	infos, err := mount.ListAt(l.home.path(l.id, quota.UpperName))
	return len(infos) > 0, err
}

// bootIDPath is the file in which the kernel shows the random ID of its own start.
const bootIDPath = "/proc/sys/kernel/random/boot_id"

// cleanAfterBoot removes layers that no caller will use, at the first start after a boot of
// the host: stray layers, and layers that were being created. All earlier callers are gone
// then. At any other start a caller may be in the middle of a call.
func (d *Driver) cleanAfterBoot(ctx context.Context) error {
	boot, err := os.ReadFile(bootIDPath)
	if err != nil {
		return err
	}
	last, err := os.ReadFile(d.home.privatePath(bootIDFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(last) == string(boot) {
		return nil
	}
	if err := d.removeTornAndStray(ctx); err != nil {
		return err
	}
	if err := d.unlinkDangling(ctx); err != nil {
		return err
	}
	warnLeftover(d.home.privatePath(bootIDFile), replaceFile(d.home.privatePath(bootIDFile), boot))
	return nil
}

// isTorn reports whether the layer was being created when the power went: the intent log
// had its names and not the content of its files. A recorded layer is never torn. Create
// with Recorded answers after its barrier, and another layer is recorded after the barrier
// of a later call.
func (l layer) isTorn() bool {
	link, err := os.Lstat(l.home.path(l.id, linkName))
	if err == nil && link.Size() == 0 {
		return true
	}
	lower, err := os.Lstat(l.home.path(l.id, lowerName))
	return err == nil && lower.Size() == 0
}

// unlinkDangling deletes short links to layers that do not exist.
func (d *Driver) unlinkDangling(ctx context.Context) error {
	names, err := readNames(d.home.path(linkDir))
	if err != nil {
		return err
	}
	for _, short := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		link := d.home.path(linkDir, short)
		target, err := os.Readlink(link)
		if err != nil {
			return err
		}
		// A limited layer's content is not mounted now, so the link leads nowhere. The layer's
		// directory is checked instead.
		if _, err := os.Lstat(filepath.Dir(filepath.Join(filepath.Dir(link), target))); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		warnLeftover(link, errors.Join(d.limits.Discard(short), os.Remove(link)))
	}
	return nil
}

// isStray reports whether no caller will use the layer after a boot of the host.
func (d *Driver) isStray(id string) bool {
	return d.strayFunc != nil && d.strayFunc(id, func(id string) bool {
		found, err := d.home.layer(id).exists()
		return err != nil || found
	})
}

// removeTornAndStray removes torn and stray layers.
func (d *Driver) removeTornAndStray(ctx context.Context) error {
	names, err := readNames(string(d.home))
	if err != nil {
		return err
	}
	for _, id := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if checkID("layer", id) != nil || !d.home.layer(id).isTorn() && !d.isStray(id) {
			continue
		}
		logrus.WithField("layer", id).Info("layer removed: no engine recorded it")
		if err := d.removeLayer(d.home.layer(id)); err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("cannot remove the layer: left for the next start of the host")
		}
	}
	return nil
}
