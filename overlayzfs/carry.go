package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treesize"
	"github.com/overlayzfs/overlayzfs/quota"
)

// A layer that was made without a limit lies on the store's dataset, where nothing limits it.
// To give it a limit, the driver carries it: it makes a limited layer with another key in
// staging, copies the content, and exchanges the two directories in one step. Before that step
// the staged layer is one that was never finished, and the next start removes it. After the
// step the old layer is in its place, and the next start removes that. The key tells the record
// of the limit whether the layer is the one that it was made for.

// carry gives a limit to a layer without one. The layer stays as it is when carry fails. The
// error says why ctx ended, if it did.
func (d *Driver) carry(ctx context.Context, l layer, spec quota.Spec) error {
	err := d.tryCarry(ctx, l, spec)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (d *Driver) tryCarry(ctx context.Context, l layer, spec quota.Spec) error {
	if err := d.limits.Check(spec); err != nil {
		return err
	}
	if err := d.requireCarriable(l); err != nil {
		return err
	}
	if err := d.requireUnused(ctx, l); err != nil {
		return err
	}
	if err := checkFits(ctx, l, spec.Limits); err != nil {
		return err
	}
	lowers, err := l.readLowers()
	if err != nil {
		return err
	}
	key, err := readShortName(l.dir())
	if err != nil {
		return err
	}
	d.limited.add(l.id)
	var replaced string
	err = d.stageLayer(l, lowers, postponeInodes(spec), func(staged quota.Layer) error {
		replaced = staged.Dir
		return d.copyAndExchange(ctx, l, staged, spec.Limits)
	})
	if err != nil {
		return err
	}
	return d.finishCarry(ctx, l, replaced, key)
}

// postponeInodes returns the spec with a limit on files that the copy does not come near. Near a
// limit each file would wait for a transaction group.
func postponeInodes(spec quota.Spec) quota.Spec {
	if spec.Inodes > 0 {
		spec.Inodes = quota.MaxInodes
	}
	return spec
}

// requireCarriable refuses a layer that is no container's.
func (d *Driver) requireCarriable(l layer) error {
	lowers, err := l.readLowers()
	if err != nil {
		return err
	}
	_, err = os.Lstat(l.committed())
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil, len(lowers) == 0, d.building.has(l.id), d.mutable.has(l.id):
		return fault.New(fault.Unsupported, "only a container's layer, on top of an image, can have a limit")
	}
	return nil
}

// requireUnused refuses a layer that is mounted. What is written to it during the copy would be
// lost.
func (d *Driver) requireUnused(ctx context.Context, l layer) error {
	if err := d.endings.wait(ctx, l.id); err != nil {
		return err
	}
	mounted := false
	if !d.externalMounts {
		var err error
		if mounted, err = mount.IsOverlay(l.merged()); err != nil {
			return err
		}
	}
	if !mounted {
		var err error
		if mounted, err = mount.IsUpperInUse(l.diff()); err != nil {
			return err
		}
	}
	if mounted {
		return errCarryInUse
	}
	return nil
}

// errCarryInUse refuses to carry a layer in use. errCarryInterrupted ends a carry.
var (
	errCarryInUse = fault.NewWithRemedy(fault.Busy, "the container was made without a limit, so its files lie on the dataset of all layers and have to be moved first: stop the container, then set the limit")

	errCarryInterrupted = fault.NewWithRemedy(fault.Busy, "the container was started or changed while its files were copied to a dataset of their own; it is as before and has no limit: stop it, then set the limit again")
)

// checkFits refuses limits below what the layer holds, before anything is copied.
func checkFits(ctx context.Context, l layer, limits Limits) error {
	root, err := os.Open(l.diff())
	if err != nil {
		return err
	}
	defer root.Close()
	held, err := treesize.Walk(ctx, int(root.Fd()))
	if err != nil {
		return err
	}
	return limits.CheckUsage(quota.Usage{Bytes: uint64(held.Allocated), Inodes: uint64(held.Inodes)})
}

// copyAndExchange fills the staged layer, sets its limits and exchanges it with the layer. On
// failure the layer is as before.
func (d *Driver) copyAndExchange(ctx context.Context, l layer, staged quota.Layer, limits Limits) error {
	prints := fingerprints{maphash.MakeSeed()}
	before, err := prints.of(ctx, l.diff())
	if err != nil {
		return err
	}
	if err := d.copyContent(ctx, l, staged); err != nil {
		return explainCopy(err)
	}
	if err := d.limits.SetLimits(staged, limits); err != nil {
		return err
	}
	if err := d.waitTxg(ctx); err != nil {
		return err
	}
	d.unwatch(l)
	if err := exchange(staged.Dir, l.dir()); err != nil {
		return err
	}
	// From here on a mounter finds the new directory. An earlier one has the old one, and what it
	// wrote is not in the copy.
	if err := requireUnchanged(ctx, prints, before, filepath.Join(staged.Dir, diffName)); err != nil {
		return errors.Join(err, exchange(staged.Dir, l.dir()))
	}
	return nil
}

// requireUnchanged fails when a directory was changed since its fingerprint, or is mounted.
func requireUnchanged(ctx context.Context, prints fingerprints, before uint64, dir string) error {
	mounted, err := mount.IsUpperInUse(dir)
	if err != nil {
		return err
	}
	now, err := prints.of(ctx, dir)
	if err == nil && (mounted || now != before) {
		err = errCarryInterrupted
	}
	return err
}

// copyContent copies the layer's files and the owner of its root.
func (d *Driver) copyContent(ctx context.Context, l layer, staged quota.Layer) (err error) {
	if err := d.limits.Attach(staged); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.limits.Detach(staged)) }()
	from, err := os.Open(l.diff())
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Open(filepath.Join(staged.Dir, diffName))
	if err != nil {
		return err
	}
	defer to.Close()
	return treecopy.Tree(ctx, to, from, treecopy.Options{})
}

// explainCopy explains an error of copying.
func explainCopy(err error) error {
	if errors.Is(err, unix.EDQUOT) {
		return fault.NewWithRemedy(fault.LimitReached, "the limit is below what the container holds; nothing was changed: set a larger one, or delete files in the container first (%w)", err)
	}
	return err
}

// exchange exchanges two directories in one step.
func exchange(a, b string) error {
	err := fsat.Rename(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err != nil {
		return fmt.Errorf("exchange %q and %q: %w", a, b, err)
	}
	return nil
}

// finishCarry makes the exchange durable and removes the old layer, whose key is given. It does
// not stop at the end of ctx: the layer has its limit.
func (d *Driver) finishCarry(ctx context.Context, l layer, old, key string) error {
	if d.externalMounts { // a mounter may have the mount already, whose paths lead to the dataset
		warnLeftover(l.dir(), d.attach(l))
	}
	d.durableWithChild.remove(l.id) // it is durable now, and its mounts must not be volatile
	err := d.waitTxg(context.WithoutCancel(ctx))
	trash := d.home.privatePath(trashDir, key)
	if moved := publish(old, trash); moved != nil {
		warnLeftover(old, moved)
	} else {
		d.reaper.enqueue(trash)
	}
	logrus.WithField("layer", l.id).Info("the layer was given a limit: its files were moved to where limits are enforced")
	if err != nil {
		return fmt.Errorf("the limit is set, and a power cut may take it away: set it again: %w", err)
	}
	return nil
}

// isCarried reports whether a directory in staging is half of a carry of a layer that exists:
// the copy, which the layer does not have the key of, or the old layer, which has another key
// than its directory is named after.
func (d *Driver) isCarried(id, stage string) bool {
	key, err := readShortName(d.home.layer(id).dir())
	if err != nil {
		return false
	}
	staged, err := readShortName(stage)
	return key != filepath.Base(stage) || err == nil && staged != filepath.Base(stage)
}

// carries are the calls that may carry a layer. A call that mounts or removes the layer
// interrupts them, so that no container waits for a copy.
type carries struct {
	mu  sync.Mutex
	all map[*carryCall]bool
}

type carryCall struct {
	id     string
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// begin returns the context of a carry. It is called before the layer is locked: a call that
// comes later waits for the lock, and has to find the carry.
func (c *carries) begin(ctx context.Context, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	call := &carryCall{id, ctx, cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[*carryCall]bool{}
	}
	c.all[call] = true
	return ctx, func() {
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, call)
	}
}

// interrupt ends the carries of a layer, or of all layers for "".
func (c *carries) interrupt(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for call := range c.all {
		if id == "" || call.id == id {
			call.cancel(errCarryInterrupted)
		}
	}
}
