package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// image pulls an image: layers on one another, applied from tars.
func (w *worker) image(ctx context.Context) error {
	var below *node
	if w.IntN(3) > 0 {
		below = w.nodes.image(w.Rand)
	}
	for range 1 + w.IntN(3) {
		seed := w.Uint64()
		raw, err := layers.Tar(seed, layers.Options{Base: below == nil, Xattrs: w.xattrs})
		if err != nil {
			return err
		}
		made, err := w.apply(ctx, idOf(below), raw)
		w.nodes.release(below)
		if err != nil || made == nil {
			return err
		}
		below = made
	}
	w.nodes.release(below)
	return nil
}

func idOf(y *node) string {
	if y == nil {
		return ""
	}
	return y.ID
}

// apply makes an image's layer of a tar. It returns nil when a call was refused.
func (w *worker) apply(ctx context.Context, parent string, raw []byte) (*node, error) {
	digest, err := layers.Digest(raw)
	if err != nil {
		return nil, err
	}
	made, err := w.create(ctx, wire.Layer{ID: w.name(wire.Image), Parent: parent, Kind: wire.Image}, 0)
	if made == nil || err != nil {
		return nil, err
	}
	ok, err := w.call(wire.Event{Call: wire.Fill, ID: made.ID, Kind: wire.Image, Digest: digest}, func() error {
		_, err := w.ApplyDiff(ctx, made.ID, parent, bytes.NewReader(raw))
		return err
	})
	if !ok || err != nil {
		return nil, err
	}
	w.nodes.record(made)
	return made, nil
}

// create makes a layer, and takes it.
func (w *worker) create(ctx context.Context, l wire.Layer, size int64) (*node, error) {
	o := plugin.CreateOptions{ReadWrite: l.Kind == wire.Init || l.Kind == wire.Container}
	if size > 0 {
		o.StorageOpt = map[string]string{"size": fmt.Sprint(size)}
	}
	var unsupported bool
	ok, err := w.call(wire.Event{Call: wire.Create, ID: l.ID, Parent: l.Parent, Kind: l.Kind, Size: size}, func() error {
		err := w.Create(ctx, l.ID, l.Parent, o)
		unsupported = size > 0 && err != nil && wire.NoLimits(err.Error())
		return err
	})
	if err != nil {
		return nil, err
	}
	if unsupported {
		w.unlimited.Store(true)
		return w.create(ctx, l, 0)
	}
	if !ok {
		return nil, nil
	}
	return w.nodes.add(l), nil
}

// step does what BuildKit does for a step of a build: a layer is made,
// mounted, written to, and becomes one by Diff.
func (w *worker) step(ctx context.Context) error {
	below := w.nodes.image(w.Rand)
	if below == nil {
		return nil
	}
	defer w.nodes.release(below)
	made, err := w.create(ctx, wire.Layer{ID: w.name(wire.Step), Parent: below.ID, Kind: wire.Step}, 0)
	if made == nil || err != nil {
		return err
	}
	defer w.nodes.release(made)
	seed := w.Uint64()
	if err := w.mounted(ctx, made.ID, func(dir string) error { return layers.Step(seed, dir) }); err != nil {
		return w.refused("a step in "+made.ID, err)
	}
	event := wire.Event{Call: wire.Fill, ID: made.ID, Kind: wire.Step}
	event.Verb = wire.Begin
	if _, err := w.line.Say(event); err != nil {
		return err
	}
	// Diff is answered when its stream has ended; only then is the digest known.
	event.Verb = wire.Done
	raw, refusal := w.readDiff(ctx, made.ID, below.ID)
	if refusal == nil {
		event.Digest, refusal = layers.Digest(raw)
	}
	if refusal != nil {
		return w.refused("Diff of "+made.ID, refusal)
	}
	_, err = w.line.Say(event)
	w.nodes.record(made)
	return err
}

// mounted calls do with the directory of a mounted layer.
func (w *worker) mounted(ctx context.Context, id string, do func(dir string) error) error {
	dir, err := w.Get(ctx, id, "")
	if err != nil {
		return err
	}
	return errors.Join(do(dir), w.Put(ctx, id))
}

// refused tells the host of a failure that no power cut explains.
func (w *worker) refused(what string, err error) error {
	_, err = w.line.Say(wire.Event{Verb: wire.Failed, Text: what + ": " + err.Error()})
	return err
}

// container runs a container, and commits it now and then.
func (w *worker) container(ctx context.Context) error {
	below := w.nodes.image(w.Rand)
	if below == nil {
		return nil
	}
	defer w.nodes.release(below)
	id := w.name(wire.Container)
	init, err := w.create(ctx, wire.Layer{ID: id + "-init", Parent: below.ID, Kind: wire.Init}, 0)
	if init == nil || err != nil {
		return err
	}
	defer w.nodes.release(init)
	if err := w.mounted(ctx, init.ID, func(dir string) error { return layers.Step(1, dir) }); err != nil {
		return w.refused("preparing "+init.ID, err)
	}
	made, err := w.create(ctx, wire.Layer{ID: id, Parent: init.ID, Kind: wire.Container}, w.limit())
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
		return w.refused("writing in "+id, err)
	}
	if lost != nil || w.IntN(3) > 0 {
		return lost
	}
	return w.commit(ctx, below, made)
}

// limit is the size of every other container, as long as the driver has limits.
func (w *worker) limit() int64 {
	if w.unlimited.Load() || w.IntN(2) == 0 {
		return 0
	}
	return int64(32+w.IntN(200)) << 20
}

// write writes a container's records. lost is an error of the line.
func (w *worker) write(dir, id string) (lost, err error) {
	for n := 1; n <= 3+w.IntN(25); n++ {
		sync := w.IntN(5) == 0
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
	raw, err := w.readDiff(ctx, container.ID, container.Parent)
	if err != nil {
		return w.refused("Diff of "+container.ID, err)
	}
	made, err := w.apply(ctx, below.ID, raw)
	w.nodes.release(made)
	return err
}

// remove removes a layer that nothing needs, a container with its init layer.
func (w *worker) remove(ctx context.Context) error {
	y := w.nodes.leaf(w.Rand)
	if y == nil {
		return nil
	}
	if _, err := w.removeLayer(ctx, y.ID, y.Kind); err != nil || y.Kind != wire.Container {
		return err
	}
	w.nodes.forget(y.Parent)
	_, err := w.removeLayer(ctx, y.Parent, wire.Init)
	return err
}

func (l *load) removeLayer(ctx context.Context, id string, kind wire.Kind) (bool, error) {
	w := worker{load: l}
	return w.call(wire.Event{Call: wire.Remove, ID: id, Kind: kind}, func() error { return l.Remove(ctx, id) })
}
