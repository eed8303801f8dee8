package guest

import (
	"context"
	"errors"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
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
		return w.ApplyDiff(ctx, made.ID, parent, raw)
	})
	if !ok || err != nil {
		return nil, err
	}
	w.nodes.record(made)
	return made, nil
}

// create makes a layer, and takes it.
func (w *worker) create(ctx context.Context, l wire.Layer, size int64) (*node, error) {
	var unsupported bool
	ok, err := w.call(wire.Event{Call: wire.Create, ID: l.ID, Parent: l.Parent, Kind: l.Kind, Size: size}, func() error {
		err := w.Create(ctx, l, size)
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
// mounted, written to, and becomes one by Diff or Commit.
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
		return w.reportFailure("a step in "+made.ID, err)
	}
	if w.snapshots != nil {
		return w.commitStep(ctx, made, below)
	}
	return w.diffStep(ctx, made, below)
}

// diffStep ends a step by the Diff that makes it a layer. Only when the stream
// has ended is the digest known.
func (w *worker) diffStep(ctx context.Context, made, below *node) error {
	event := wire.Event{Verb: wire.Begin, Call: wire.Fill, ID: made.ID, Kind: wire.Step}
	if _, err := w.line.Say(event); err != nil {
		return err
	}
	event.Verb = wire.Done
	var refusal error
	if event.Digest, refusal = w.digest(ctx, made.ID, below.ID); refusal != nil {
		return w.reportFailure("Diff of "+made.ID, refusal)
	}
	_, err := w.line.Say(event)
	w.nodes.record(made)
	return err
}

// commitStep ends a step by a Commit, after a look at what it is to hold.
func (w *worker) commitStep(ctx context.Context, made, below *node) error {
	digest, refusal := w.digest(ctx, made.ID, below.ID)
	if refusal != nil {
		return w.reportFailure("Diff of "+made.ID, refusal)
	}
	event := wire.Event{Call: wire.Fill, ID: made.ID, Kind: wire.Step, Digest: digest}
	ok, err := w.call(event, func() error { return w.snapshots.commit(ctx, made.ID) })
	if ok {
		w.nodes.record(made)
	}
	return err
}

func (w *worker) digest(ctx context.Context, id, parent string) (string, error) {
	raw, err := w.Diff(ctx, id, parent)
	if err != nil {
		return "", err
	}
	return layers.Digest(raw)
}

// mounted calls do with the directory of a mounted layer.
func (w *worker) mounted(ctx context.Context, id string, do func(dir string) error) error {
	dir, err := w.Get(ctx, id)
	if err != nil {
		return err
	}
	return errors.Join(do(dir), w.Put(ctx, id))
}

// reportFailure tells the host of a failure that no power cut explains.
func (w *worker) reportFailure(what string, err error) error {
	_, err = w.line.Say(wire.Event{Verb: wire.Failed, Text: what + ": " + err.Error()})
	return err
}

// remove removes a layer that nothing needs, a container with its init layer.
func (w *worker) remove(ctx context.Context) error {
	y := w.nodes.leaf(w.Rand)
	if y == nil {
		return nil
	}
	_, err := w.removeLayer(ctx, y.ID, y.Kind)
	w.nodes.removed(y)
	if err != nil || y.Parent != initOf(y.ID) {
		return err
	}
	w.nodes.forget(y.Parent)
	_, err = w.removeLayer(ctx, y.Parent, wire.Init)
	return err
}

func (l *load) removeLayer(ctx context.Context, id string, kind wire.Kind) (bool, error) {
	w := worker{load: l}
	return w.call(wire.Event{Call: wire.Remove, ID: id, Kind: kind}, func() error { return l.Remove(ctx, id) })
}
