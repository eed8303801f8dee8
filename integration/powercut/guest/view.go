package guest

import (
	"context"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// view makes a view of an image, and asks what an engine asks meanwhile.
func (w *worker) view(ctx context.Context) error {
	below := w.nodes.image(w.Rand)
	if below == nil {
		return nil
	}
	defer w.nodes.release(below)
	made, err := w.create(ctx, wire.Layer{ID: w.name(wire.View), Parent: below.ID, Kind: wire.View}, 0)
	w.nodes.release(made)
	if made == nil || err != nil {
		return err
	}
	if _, err := w.snapshots.Usage(ctx, below.ID); err != nil {
		return w.reportFailure("Usage of "+below.ID, err)
	}
	if w.IntN(4) > 0 {
		return nil
	}
	if err := w.snapshots.clean(ctx); err != nil {
		return w.reportFailure("Cleanup", err)
	}
	return nil
}
