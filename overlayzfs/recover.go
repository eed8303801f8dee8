package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// recover finishes or undoes what was going on when the last session ended.
// It looks only at what that session left in the store's own directories and
// so costs nothing for the layers that are ready.
func (d *Driver) recover(ctx context.Context) error {
	if err := d.sortBuilding(ctx); err != nil {
		return err
	}
	if err := unmountBelow(d.home.own(newName)); err != nil {
		return err
	}
	discard := func(dir string) { d.discardLayer(ctx, dir) }
	if err := each(ctx, d.home.own(newName), discard); err != nil {
		return err
	}
	if err := each(ctx, d.home.own(applyName), d.discardContent); err != nil {
		return err
	}
	if err := d.limits.Recover(ctx, d.live); err != nil {
		return err
	}
	return each(ctx, d.home.own(trashName), d.reaper.take)
}

// unmountBelow takes away what a process that was killed had mounted where layers
// are made: its measurement, or the dataset of a limited layer.
func unmountBelow(dir string) error {
	mounts, err := mount.ListBelow(dir)
	for _, m := range mounts {
		err = errors.Join(err, mount.Detach(m.Mountpoint))
	}
	return err
}

// sortBuilding decides about the layers that were made and had no content yet.
func (d *Driver) sortBuilding(ctx context.Context) error {
	return each(ctx, d.home.own(buildingName), func(marker string) {
		id := filepath.Base(marker)
		if err := d.sortOut(id); err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("left for the next start")
		}
	})
}

// sortOut removes a layer whose diff was being applied, and one that no caller
// comes back for: nobody recorded it. Where a caller records a layer when it is
// made, one that nothing was applied to yet is kept; but it takes no diff any
// more, for that could only be what is left of a stream whose beginning went to
// the process before.
func (d *Driver) sortOut(id string) error {
	if d.resumes == nil || !d.resumes(id) {
		logrus.WithField("layer", id).Info("removed: it never got its content")
		return d.remove(d.home.layer(id))
	}
	err := os.Mkdir(d.home.applying(id), 0o700)
	if errors.Is(err, fs.ErrExist) {
		logrus.WithField("layer", id).Info("removed: its diff was cut short")
		return d.remove(d.home.layer(id))
	}
	if err != nil {
		return err
	}
	return d.settle(id)
}

// each calls discard with the path of every entry of dir.
func each(ctx context.Context, dir string, discard func(string)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		discard(filepath.Join(dir, entry.Name()))
	}
	return nil
}
