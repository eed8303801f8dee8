package overlayzfs

import (
	"context"
	"errors"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// Remove removes the layer, mounted or not: dockerd and BuildKit remove what
// they took a reference on and never gave back. One that does not exist is
// success; one in which a file is open stays as it is.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := checkID("layer", id); err != nil {
		return d.in("remove", id, err)
	}
	return d.on("remove", id, func(l layer) error {
		trash, err := d.unname(l)
		if err != nil {
			return err
		}
		d.snapshots.Notify(snapshot.Removed)
		// It is removed, whatever becomes of the wait.
		warn(l.dir(), d.gone(ctx, id))
		d.reaper.take(trash)
		d.reaper.pace(ctx)
		return nil
	})
}

// gone makes a removal durable. A layer that came back after a power cut would
// be nobody's, for the caller forgets it now; unless it is one that the next
// start would remove.
func (d *Driver) gone(ctx context.Context, id string) error {
	if d.isStray(id) {
		return nil
	}
	return d.noted(ctx)
}

// remove removes a layer that no caller waits for.
func (d *Driver) remove(l layer) error {
	trash, err := d.unname(l)
	if err == nil {
		d.reaper.take(trash)
	}
	return err
}

// unname takes the layer away from its name, in one step, and returns where its
// files wait for their deletion; "" when there are none.
func (d *Driver) unname(l layer) (trash string, err error) {
	exists, err := l.exists()
	if err != nil {
		return "", err
	}
	if !exists {
		return "", d.forget(l.id)
	}
	if err := unmountIdle(l); err != nil {
		return "", err
	}
	if err := d.detach(l); err != nil && !errors.Is(err, fault.Invalid) { // a damaged layer can go too
		return "", err
	}
	trash = d.home.own(trashName, newShort())
	err = publish(l.dir(), trash)
	if class := fault.ClassOf(fault.Classify(err)); class == fault.NoSpace || class == fault.LimitReached {
		return "", d.removeInPlace(l)
	}
	if err != nil {
		return "", err
	}
	// What it had outside of its directory goes now: a limit's dataset has space
	// that others may be waiting for.
	warn(trash, d.unlinkShort(trash))
	return trash, d.forget(l.id)
}

// forget deletes what the store noted of a layer that is gone.
func (d *Driver) forget(id string) error {
	d.refs.forget(id)
	d.quiet.remove(id)
	d.companions.remove(id)
	return errors.Join(d.settle(id), removeTree(d.home.applying(id)))
}

// removeInPlace removes a layer where it is. A full pool or dataset refuses
// renames but not deletions, and removing layers must be a way out. Cut short,
// the layer still exists with less in it; dockerd asks again at its start.
func (d *Driver) removeInPlace(l layer) error {
	if err := d.unlinkShort(l.dir()); err != nil {
		return err
	}
	if err := removeTree(l.diff()); err != nil {
		return err
	}
	if err := removeTree(l.dir()); err != nil {
		return err
	}
	return d.forget(l.id)
}

// unmountIdle ends the layer's mount. The kernel refuses while anything is open
// below it.
func unmountIdle(l layer) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || !mounted {
		return err
	}
	return mount.Unmount(l.merged())
}
