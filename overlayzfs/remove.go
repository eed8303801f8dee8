package overlayzfs

import (
	"context"
	"errors"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// Remove removes the layer. One that does not exist is success; one that
// somebody holds, or that has files open, stays as it is.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := checkID("layer", id); err != nil {
		return d.in("remove", id, err)
	}
	return d.on("remove", id, d.remove)
}

func (d *Driver) remove(l layer) error {
	if exists, err := l.exists(); err != nil || !exists {
		return err
	}
	if err := d.unmountForRemoval(l); err != nil {
		return err
	}
	d.refs.forget(l.id)
	trash := d.home.own(trashName, newShort())
	err := publish(l.dir(), trash)
	if class := fault.ClassOf(fault.Classify(err)); class == fault.NoSpace || class == fault.LimitReached {
		return d.removeInPlace(l)
	}
	if err != nil {
		return err
	}
	// The layer is gone by the rename; its files may go later.
	d.discardLayer(trash)
	return d.forget(l.id)
}

// forget deletes what the store noted of a layer that is gone.
func (d *Driver) forget(id string) error {
	return errors.Join(d.settle(id), removeTree(d.home.applying(id)))
}

// removeInPlace removes a layer where it is. A full pool or dataset refuses
// renames but not deletions, and removing layers must be a way out. Cut short,
// the layer still exists with less in it, and whoever wanted it removed asks
// again, as dockerd does at its start.
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

// unmountForRemoval ends a mount that nobody holds. A count that was only
// found at the start may be one that dockerd has forgotten, so it does not
// protect the layer; the kernel does, if anything is open below it.
func (d *Driver) unmountForRemoval(l layer) error {
	if held := d.refs.held(l.id); held > 0 {
		return fault.New(fault.Busy, "it is mounted and has %d users", held)
	}
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || !mounted {
		return err
	}
	return mount.Unmount(l.merged())
}
