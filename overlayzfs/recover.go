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
	warnLeftover(d.home.privatePath(limitsDir), d.limits.DropSpares()) // they are made in staging
	if err := d.recoverBuilding(ctx); err != nil {
		return err
	}
	if err := detachMounts(d.home.privatePath(newDir)); err != nil {
		return err
	}
	discard := func(dir string) { d.discardStage(ctx, dir) }
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

// discardStage deletes a layer in staging. The name of its directory is that of its short
// link, which its torn file may lack. After a carry that was cut short, the link of that name
// can be the one of a layer that exists, or the layer has another link.
func (d *Driver) discardStage(ctx context.Context, dir string) {
	if short := filepath.Base(dir); quota.IsKey(short) {
		target, err := os.Readlink(d.home.path(linkDir, short))
		if id, ok := parseShortLink(target); err == nil && ok && !d.isCarried(id, dir) {
			warnLeftover(dir, d.home.unlinkIfDangling(id, short))
		}
	}
	d.discardLayer(ctx, dir)
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
		if checkID("layer", id) != nil {
			logrus.WithField("file", mark).Warn("ignored: it names no layer, and overlayzfs did not make it")
			return
		}
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
	if exists, err := d.home.layer(id).exists(); err != nil || !exists {
		return errors.Join(err, d.clearMarks(id)) // Create did not come to it
	}
	err := os.Mkdir(d.home.applyPath(id), 0o700)
	if errors.Is(err, fs.ErrExist) {
		logrus.WithField("layer", id).Info("layer removed: its diff was cut short")
		return d.removeLayer(d.home.layer(id))
	}
	if err != nil {
		return err
	}
	// It is a build step, and the Put that ends it has to wait for the disk.
	return d.replaceBuildingMark(id)
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
	if !d.mayHaveKey(r.Layer, key) {
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
