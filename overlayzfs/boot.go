package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
)

// bootIDPath is the file in which the kernel shows the random ID of its own start.
const bootIDPath = "/proc/sys/kernel/random/boot_id"

// hostBoot is what the store says about the boot of the host at which it was last opened.
type hostBoot struct {
	id    []byte // of the present boot
	isNew bool   // the store was last opened at an earlier one
	// knownStore is false when no driver of ours has opened the store before. Nothing in it
	// can be half made by us then.
	knownStore bool
}

func (h home) readBoot() (b hostBoot, err error) {
	if b.id, err = os.ReadFile(bootIDPath); err != nil {
		return b, err
	}
	last, err := os.ReadFile(h.privatePath(bootIDFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	b.knownStore = err == nil
	b.isNew = string(last) != string(b.id)
	return b, nil
}

// writeBoot records that the store was opened at this boot.
func (h home) writeBoot(b hostBoot) {
	if b.isNew {
		warnLeftover(h.privatePath(bootIDFile), replaceFile(h.privatePath(bootIDFile), b.id))
	}
}

// removeTornBuilds removes torn layers among those with a mark, before recovery clears the
// marks. Only the first start after a boot of the host can find some.
func (d *Driver) removeTornBuilds(ctx context.Context, b hostBoot) error {
	if !b.isNew || !b.knownStore {
		return nil
	}
	for _, dir := range []string{buildingDir, mutableDir} {
		names, err := readNames(d.home.privatePath(dir))
		if err != nil {
			return err
		}
		for _, id := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			if checkID("layer", id) == nil {
				_, err := d.removeIfTorn(d.home.layer(id))
				warnUnremoved(id, err)
			}
		}
	}
	return nil
}

// cleanAfterBoot removes layers that no caller will use, at the first start after a boot of
// the host: stray layers, and torn ones. All earlier callers are gone then. At any other start
// a caller may be in the middle of a call. It reads names, and looks only into the layers that
// the door names: most layers are images', and durable before their mark is removed.
func (d *Driver) cleanAfterBoot(ctx context.Context, b hostBoot) error {
	if !b.isNew || !b.knownStore {
		return nil
	}
	layers, err := d.home.readLayerNames()
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(layers))
	for _, id := range layers {
		there[id] = true
	}
	exists := func(id string) bool { return there[id] }
	for _, id := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch {
		case d.strayFunc != nil && d.strayFunc(id, exists):
			err = d.removeUnrecorded(d.home.layer(id))
		case d.mayBeTorn != nil && d.mayBeTorn(id, exists):
			_, err = d.removeIfTorn(d.home.layer(id))
		}
		warnUnremoved(id, err)
	}
	return nil
}

// RemoveTorn removes those of the layers that a power cut tore while they were made, and
// returns them. The caller knows which of its layers may be torn, and makes none meanwhile.
func (d *Driver) RemoveTorn(ctx context.Context, ids []string) (removed []string, err error) {
	for _, id := range ids {
		torn, failed := runLockedFor(ctx, d, "remove torn", id, d.removeIfTorn)
		if torn {
			removed = append(removed, id)
		}
		err = errors.Join(err, failed)
	}
	return removed, err
}

func (d *Driver) removeIfTorn(l layer) (removed bool, err error) {
	if !l.isTorn() {
		return false, nil
	}
	// A layer that was never answered is empty. Another program tore one with content.
	if err := requireNoContent(l); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, d.removeUnrecorded(l)
}

func (d *Driver) removeUnrecorded(l layer) error {
	logrus.WithField("layer", l.id).Info("layer removed: no engine recorded it")
	return d.removeLayer(l)
}

func warnUnremoved(id string, err error) {
	if err != nil {
		logrus.WithError(err).WithField("layer", id).Warn("cannot remove a layer that no engine recorded: left for the next start of the host")
	}
}

// isTorn reports whether the layer was being created when the power went: the intent log
// had its names and not the content of its files. A recorded layer is never torn. Create
// with Recorded answers after its barrier, and another layer is recorded after the barrier
// of a later call.
func (l layer) isTorn() bool {
	for _, name := range []string{linkName, lowerName} {
		if fi, err := os.Lstat(filepath.Join(l.dir(), name)); err == nil && fi.Size() == 0 {
			return true
		}
	}
	return false
}

// isStray reports whether no caller will use the layer after a boot of the host.
func (d *Driver) isStray(id string) bool {
	return d.strayFunc != nil && d.strayFunc(id, func(id string) bool {
		found, err := d.home.layer(id).exists()
		return err != nil || found
	})
}
