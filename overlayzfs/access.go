package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// Get mounts the layer over all layers below it, takes a reference and returns the
// directory. Committed layers are mounted read-only. A base layer is never mounted: Get
// returns its own directory.
func (d *Driver) Get(ctx context.Context, id, mountLabel string) (string, error) {
	d.carries.interrupt(id)
	return runLockedFor(ctx, d, "get", id, func(l layer) (string, error) {
		return withLinks(ctx, d, func() (string, error) { return d.get(ctx, l, mountLabel) })
	})
}

func (d *Driver) get(ctx context.Context, l layer, mountLabel string) (string, error) {
	lowers, err := l.readLowers()
	if err != nil {
		return "", err
	}
	if len(lowers) == 0 { // a base layer, or none
		if err := l.requireExists("layer"); err != nil {
			return "", err
		}
	}
	if err := d.markMutable(l); err != nil {
		return "", err
	}
	if len(lowers) == 0 {
		return l.diff(), nil
	}
	if err := d.ensureMounted(ctx, l, lowers, mountLabel); err != nil {
		return "", err
	}
	d.refs.add(l.id)
	return l.merged(), nil
}

// ensureMounted mounts the layer unless it is mounted. It asks the kernel and not the
// reference counts, because other processes can unmount the layer.
func (d *Driver) ensureMounted(ctx context.Context, l layer, lowers []string, mountLabel string) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || mounted {
		return err
	}
	if err := d.endings.wait(ctx, l.id); err != nil {
		return err
	}
	d.refs.forget(l.id)
	m, err := d.overlayMount(l, lowers, mountLabel)
	if err != nil {
		return err
	}
	if err := d.makeRootDir(l.merged(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.attach(l); err != nil {
		return errors.Join(err, removeMountPoint(l))
	}
	if err := d.tmpfiles.Mount(m); err != nil {
		return errors.Join(err, d.detach(l), removeMountPoint(l))
	}
	return nil
}

// overlayMount builds the layer's mount.
func (d *Driver) overlayMount(l layer, lowers []string, mountLabel string) (mount.Mount, error) {
	separate, err := d.hasDataset(l)
	if err != nil {
		return mount.Mount{}, err
	}
	plain, err := d.showsPlainInodes(l, separate)
	if err != nil {
		return mount.Mount{}, err
	}
	o := mount.Overlay{
		Apart:       separate,
		PlainInodes: plain,
		Dir:         string(d.home),
		Target:      l.id + "/" + mergedName,
		Lowers:      lowers,
		Upper:       l.id + "/" + diffName,
		Work:        l.id + "/" + workName,
		Label:       mountLabel,
		Off:         d.disabledFeatures,
	}
	_, err = os.Lstat(l.committed())
	switch {
	case err == nil:
		o.Lowers = append([]string{o.Upper}, lowers...)
		o.Upper, o.Work = "", ""
	case !errors.Is(err, fs.ErrNotExist):
		return mount.Mount{}, err
	default:
		if o.Volatile, err = d.prepareVolatile(l); err != nil {
			return mount.Mount{}, err
		}
	}
	return o.Mount()
}

// Put gives a reference back and unmounts the layer with the last one. Put of a layer
// that is not mounted or does not exist succeeds. It waits for its turn even after the end
// of ctx: a reference that is not given back keeps the layer mounted.
func (d *Driver) Put(ctx context.Context, id string) error {
	return d.runLocked(context.WithoutCancel(ctx), "put", id, func(l layer) error { return d.put(ctx, l) })
}

func (d *Driver) put(ctx context.Context, l layer) error {
	if d.refs.drop(l.id) > 0 {
		return nil
	}
	lingers, err := d.unmountLayer(l)
	if err != nil {
		return err
	}
	return d.finishStep(ctx, l, lingers)
}

// Exists reports whether the layer exists.
func (d *Driver) Exists(ctx context.Context, id string) (bool, error) {
	if err := checkID("layer", id); err != nil {
		return false, d.addContext("exists", id, err)
	}
	if err := d.checkHome(); err != nil {
		return false, d.addContext("exists", id, err)
	}
	exists, err := d.home.layer(id).exists()
	return exists, d.addContext("exists", id, err)
}

// Cleanup unmounts all layers. dockerd calls it at its stop, with no container running.
func (d *Driver) Cleanup(ctx context.Context) error {
	// A suspended pool must not keep the engine from ending, so the mounts stay then. The
	// check comes before the lock.
	if err := checkPool(d.dataset); err != nil {
		return d.addContext("cleanup", "", err)
	}
	d.carries.interrupt("")
	release, err := d.storeLock.Lock(ctx)
	if err != nil {
		return d.addContext("cleanup", "", err)
	}
	defer release()
	return d.addContext("cleanup", "", d.cleanup(ctx))
}

func (d *Driver) cleanup(ctx context.Context) error {
	mounted, err := mountedLayers(d.home)
	if err != nil {
		return err
	}
	var errs []error
	for id := range mounted {
		_, err := d.unmountLayer(d.home.layer(id)) // no caller uses it again
		errs = append(errs, err)
	}
	errs = append(errs, d.endings.waitAll(ctx), d.refs.rebuildFromDisk())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.takeSnapshot(ctx, snapshot.Stop)
	return nil
}

// prepareVolatile reports whether a writable mount of the layer may be volatile. Build
// steps may, and layers that become durable with their child.
//
// The kernel leaves a directory behind a volatile mount, even after a clean end. It refuses
// the next mount while the directory exists, so prepareVolatile deletes it. It warns of an
// upper directory that a crash may have torn. On ZFS the directory is as of one
// transaction group, and no caller uses a step that was not recorded.
func (d *Driver) prepareVolatile(l layer) (bool, error) {
	incompat := filepath.Join(l.work(), "work", "incompat", "volatile")
	if _, err := os.Lstat(incompat); err == nil {
		if err := removeTree(incompat); err != nil {
			return false, err
		}
	}
	if !d.hasVolatile {
		return false, nil
	}
	if d.durableWithChild.has(l.id) {
		return true, nil
	}
	return d.isMutable(l), nil
}

// finishStep makes a build step durable after its last Put. A mount that lingers may
// still be written to, so the step's Diff waits again.
func (d *Driver) finishStep(ctx context.Context, l layer, lingers bool) error {
	if !d.isMutable(l) {
		return nil
	}
	if lingers {
		return d.barrierForStep(ctx)
	}
	if err := d.barrierForIdleStep(ctx, l); err != nil {
		return err
	}
	d.durableLayers.add(l.id)
	return nil
}
