package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A mutable layer is a build step at work: made by Create without ReadWrite, and
// then mounted instead of given a diff. Its builder records it after its last
// Put, without another call, so that Put is where it becomes durable, at once
// and as a whole. Nobody needs an fsync inside it to mean anything before: it is
// mounted volatile, which lets package managers run at the speed of memory.

// use turns a building layer that is mounted into a mutable one. What is written
// to that from now on has yet to become durable.
func (d *Driver) use(l layer) error {
	err := os.Rename(d.home.building(l.id), d.home.mutable(l.id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mutable, err := d.isMutable(l)
	if mutable {
		d.quiet.remove(l.id)
	}
	return err
}

func (d *Driver) isMutable(l layer) (bool, error) {
	_, err := os.Lstat(d.home.mutable(l.id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// volatile reports whether a writable mount of the layer may go without syncs:
// a build step's, or one of what becomes durable with another layer. The kernel leaves a mark behind such a mount, also after a clean end, and
// refuses the next one while it is there. It warns of an upper directory that
// may be torn after a crash; on ZFS what is there is as of a transaction group,
// and a step that was not recorded is nobody's.
func (d *Driver) volatile(l layer) (bool, error) {
	mark := filepath.Join(l.work(), "work", "incompat", "volatile")
	if _, err := os.Lstat(mark); err == nil {
		if err := removeTree(mark); err != nil {
			return false, err
		}
	}
	if !d.canVolatile {
		return false, nil
	}
	if d.companions.has(l.id) {
		return true, nil
	}
	return d.isMutable(l)
}

// keepStep makes a build step durable that nobody uses any more. One that lingers
// may still be written to, so that its Diff waits again.
func (d *Driver) keepStep(ctx context.Context, l layer, lingers bool) error {
	mutable, err := d.isMutable(l)
	if err != nil || !mutable {
		return err
	}
	if lingers {
		return d.stepDone(ctx)
	}
	if err := d.quietStepDone(ctx, l); err != nil {
		return err
	}
	d.quiet.add(l.id)
	return nil
}
