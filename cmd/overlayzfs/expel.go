package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// abandon ends a receive that has nothing to finish: ZFS was interrupted and has
// kept nothing, or what came was not taken.
func (f *receiveFlags) abandon(ctx context.Context, z *zfs.Handle, where host.Location, mark overlayzfs.Receiving) (gone bool, err error) {
	there, err := z.Exists(where.Dataset + "@" + mark.To)
	switch {
	case err != nil || there && !mark.Refused:
		return false, err
	case f.dryRun:
		return true, nil
	case mark.Refused:
		return true, f.expel(ctx, z, where, mark)
	}
	return true, overlayzfs.Unmark(z, where.Dataset)
}

// reject removes a store that is no store of ours. One that is not being received
// stays: it has been here before.
func (f *receiveFlags) reject(ctx context.Context, z *zfs.Handle, where host.Location, mark overlayzfs.Receiving, why error) error {
	if mark.To == "" || f.dryRun {
		return why
	}
	return errors.Join(fmt.Errorf("what was received is not taken: %w", why), f.expel(ctx, z, where, mark))
}

// expel removes what was received. The mark is there until the last of it is gone,
// and says that it is to go.
func (f *receiveFlags) expel(ctx context.Context, z *zfs.Handle, where host.Location, mark overlayzfs.Receiving) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("it could not be removed, and no driver opens it: `%s` does it: %w: %w", f.remedy(where), err, errUnfinished)
		}
	}()
	mark.Refused = true
	if err := mark.Mark(z, where.Dataset); err != nil {
		return err
	}
	if err := z.DestroySnapshots([]string{where.Dataset + "@" + mark.To}, false); err != nil {
		return err
	}
	if mark.From == "" {
		return z.DestroyRetry(ctx, where.Dataset)
	}
	if err := z.Rollback(ctx, where.Dataset, where.Dataset+"@"+mark.From); err != nil {
		return err
	}
	return readopt(ctx, where)
}

// readopt makes the store this host's again. The snapshot that was gone back to is
// of the moment when the other host took it, with that host's containers and engine.
func readopt(ctx context.Context, where host.Location) error {
	strangers, torn, err := leftBehind(where)
	switch {
	case err != nil:
		return err
	case torn: // what --discard allowed
		_, err := moveIn(ctx, where)
		return err
	}
	return adopt(ctx, where, strangers)
}

// leftBehind are the layers of a store that neither what it carries nor Docker here
// has a record of, and whether Docker here has records of layers that are gone. What
// is not known for sure stays, for gc to judge.
func leftBehind(where host.Location) (strangers []string, torn bool, err error) {
	view, err := overlayzfs.ViewDataset(where.Dataset)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	seen, err := view.Layers()
	if err != nil {
		return nil, false, err
	}
	carried, err := recordsOf(view)
	if err == nil {
		strangers, err = transfer.Strangers(seen, carried)
	}
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Invalid) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	local, err := localRecords(where)
	if err != nil || local == nil {
		return strangers, false, err
	}
	if len(local.Damaged) > 0 {
		return nil, false, nil
	}
	inv := inventory.Take(where.Dataset, seen, local)
	for _, l := range inv.Layers {
		if l.Kind != inventory.Unknown {
			strangers = slices.DeleteFunc(strangers, func(id string) bool { return id == l.ID })
		}
	}
	return strangers, len(inv.Missing) > 0, nil
}
