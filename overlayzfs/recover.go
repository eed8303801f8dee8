package overlayzfs

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
)

// recover finishes or undoes what was going on when the last session ended.
// It looks only at what that session left in the store's own directories and
// so costs nothing for the layers that are ready.
func (d *Driver) recover(ctx context.Context) error {
	if err := d.dropBuilding(ctx); err != nil {
		return err
	}
	if err := each(ctx, d.home.own(newName), d.discardLayer); err != nil {
		return err
	}
	if err := each(ctx, d.home.own(applyName), d.discardContent); err != nil {
		return err
	}
	return each(ctx, d.home.own(trashName), d.discardLayer)
}

// dropBuilding removes the layers that were made and then never got content.
func (d *Driver) dropBuilding(ctx context.Context) error {
	markers, err := os.ReadDir(d.home.own(buildingName))
	if err != nil {
		return err
	}
	for _, marker := range markers {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := marker.Name()
		if checkID("layer", id) != nil {
			continue
		}
		logrus.WithField("layer", id).Info("dropped: it was being built when the last session ended")
		if err := d.remove(d.home.layer(id)); err != nil {
			return err
		}
		if err := d.forget(id); err != nil {
			return err
		}
	}
	return nil
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
