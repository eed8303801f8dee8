package gc

import (
	"context"
	"fmt"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Remove removes the layers from an open store, and waits until their files are
// deleted. It calls step after each layer, and returns the IDs of those removed even
// when it fails. onlyRoot is Examine's: the store stops asking for it.
func Remove(ctx context.Context, store *overlayzfs.Driver, layers []inventory.Layer, onlyRoot bool, step func()) (removed []string, err error) {
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if err := store.Remove(ctx, l.ID); err != nil {
			return removed, fmt.Errorf("layer %s: %w", inventory.ShortID(l.ID), err)
		}
		removed = append(removed, l.ID)
		step()
	}
	if onlyRoot {
		if err := store.EndDispute(); err != nil {
			return removed, err
		}
	}
	return removed, store.WaitReaper(ctx)
}
