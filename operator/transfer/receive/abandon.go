package receive

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
)

// Abandon ends a receive that has nothing to finish: ZFS was interrupted and kept
// nothing, or the received store was rejected. It reports whether that was the case.
func (r *Receiver) Abandon(ctx context.Context, receiving overlayzfs.Receiving) (abandoned bool, err error) {
	exists, err := r.ZFS.Exists(r.snapshotOf(receiving.To))
	switch {
	case err != nil || exists && !receiving.Refused:
		return false, err
	case r.DryRun:
		return true, nil
	case receiving.Refused:
		return true, r.removeReceived(ctx, receiving)
	}
	return true, overlayzfs.ClearReceiving(r.ZFS, r.Where.Dataset)
}

// reject removes a received store that is not ours. A store without the property stays,
// because it was not received now.
func (r *Receiver) reject(ctx context.Context, receiving overlayzfs.Receiving, why error) error {
	if receiving.To == "" || r.DryRun {
		return why
	}
	return errors.Join(fmt.Errorf("what was received is not taken: %w", why), r.removeReceived(ctx, receiving))
}

// removeReceived removes what was received. Until that is complete, the property records
// that the store was refused.
func (r *Receiver) removeReceived(ctx context.Context, receiving overlayzfs.Receiving) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("it could not be removed, and no driver opens it: `%s` does it: %w: %w", r.Remedy, err, ErrUnfinished)
		}
	}()
	receiving.Refused = true
	if err := receiving.SetProperty(r.ZFS, r.Where.Dataset); err != nil {
		return err
	}
	if err := r.ZFS.DestroySnapshots([]string{r.snapshotOf(receiving.To)}, false); err != nil {
		return err
	}
	if receiving.From == "" {
		return r.ZFS.DestroyRetry(ctx, r.Where.Dataset)
	}
	if err := r.ZFS.Rollback(ctx, r.Where.Dataset, r.snapshotOf(receiving.From)); err != nil {
		return err
	}
	return readoptStore(ctx, r.Where)
}

// readoptStore makes the store this host's again after the rollback. The snapshot is
// of the moment when the other host took it, with that host's containers and engine.
func readoptStore(ctx context.Context, where host.Location) error {
	foreign, torn, err := findForeignLayers(where)
	switch {
	case err != nil:
		return err
	case torn: // what --discard allowed
		_, err := installAndAdopt(ctx, where)
		return err
	}
	return adoptStore(ctx, where, foreign)
}

// findForeignLayers finds the layers of a store that neither its carried records nor Docker's
// records here name. torn reports whether Docker here has records of missing layers. When
// records are unreadable no layer counts as foreign, and gc decides later.
func findForeignLayers(where host.Location) (foreign []string, torn bool, err error) {
	view, err := overlayzfs.OpenDatasetReadOnly(where.Dataset)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	seen, err := view.Layers()
	if err != nil {
		return nil, false, err
	}
	carried, err := readRecords(view)
	if err == nil {
		foreign, err = transfer.FindForeignLayers(seen, carried)
	}
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Invalid) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	local, err := readLocal(where)
	if err != nil || local == nil {
		return foreign, false, err
	}
	if len(local.Damaged) > 0 {
		return nil, false, nil
	}
	inv := inventory.Build(where.Dataset, seen, inventory.FromDocker(local))
	for _, l := range inv.Layers {
		if l.Kind != inventory.Unknown {
			foreign = slices.DeleteFunc(foreign, func(id string) bool { return id == l.ID })
		}
	}
	return foreign, len(inv.Missing) > 0, nil
}
