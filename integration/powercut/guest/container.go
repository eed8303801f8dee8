package guest

import (
	"context"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// container runs a container, and commits it now and then.
func (w *worker) container(ctx context.Context) error {
	below := w.nodes.image(w.Rand)
	if below == nil {
		return nil
	}
	defer w.nodes.release(below)
	id := w.name(wire.Container)
	parent := below
	if w.snapshots == nil {
		init, err := w.initLayer(ctx, id, below)
		if init == nil || err != nil {
			return err
		}
		defer w.nodes.release(init)
		parent = init
	}
	made, err := w.create(ctx, wire.Layer{ID: id, Parent: parent.ID, Kind: wire.Container}, w.limit())
	if made == nil || err != nil {
		return err
	}
	defer w.nodes.release(made)
	var lost error
	if err := w.mounted(ctx, id, func(dir string) error {
		var err error
		lost, err = w.write(dir, id)
		return err
	}); err != nil {
		return w.reportFailure("writing in "+id, err)
	}
	if lost != nil || w.IntN(3) > 0 {
		return lost
	}
	return w.commit(ctx, below, made)
}

// initLayer makes the layer between an image and a container. It returns nil
// when a call was refused.
func (w *worker) initLayer(ctx context.Context, container string, below *node) (*node, error) {
	init, err := w.create(ctx, wire.Layer{ID: initOf(container), Parent: below.ID, Kind: wire.Init}, 0)
	if init == nil || err != nil {
		return nil, err
	}
	if err := w.mounted(ctx, init.ID, func(dir string) error { return layers.Step(1, dir) }); err != nil {
		return nil, w.reportFailure("preparing "+init.ID, err)
	}
	return init, nil
}

func initOf(container string) string { return container + "-init" }

// limit is the size of every other container, as long as the driver has limits.
func (w *worker) limit() int64 {
	if w.unlimited.Load() || w.IntN(2) == 0 {
		return 0
	}
	return int64(32+w.IntN(200)) << 20
}

// write writes a container's records, and changes files of its image in between. lost is an
// error of the line.
func (w *worker) write(dir, id string) (lost, err error) {
	files, err := layers.Copyable(dir)
	if err != nil {
		return nil, err
	}
	for n := 1; n <= 3+w.IntN(25); n++ {
		sync := w.IntN(5) == 0
		if len(files) > 0 && w.IntN(2) == 0 {
			if err := layers.CopyUp(files[w.IntN(len(files))], sync); err != nil {
				return nil, err
			}
		}
		if err := layers.WriteRecord(dir, id, n, sync); err != nil {
			return nil, err
		}
		event := wire.Event{Verb: wire.Done, Call: wire.Write, ID: id, Kind: wire.Container, Record: n, Synced: sync}
		if _, err := w.line.Say(event); err != nil {
			return err, nil
		}
	}
	return nil, nil
}

// commit makes an image's layer of what a container has over its image.
func (w *worker) commit(ctx context.Context, below, container *node) error {
	raw, err := w.Diff(ctx, container.ID, container.Parent)
	if err != nil {
		return w.reportFailure("Diff of "+container.ID, err)
	}
	made, err := w.apply(ctx, below.ID, raw)
	w.nodes.release(made)
	return err
}
