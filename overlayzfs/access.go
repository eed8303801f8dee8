package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// Get returns a directory that shows the layer together with all below it and
// takes a reference on it. Committed layers are shown read-only, except a base
// layer: its directory is what it is.
func (d *Driver) Get(ctx context.Context, id, mountLabel string) (string, error) {
	if err := checkID("layer", id); err != nil {
		return "", d.in("get", id, err)
	}
	var dir string
	err := d.on("get", id, func(l layer) (err error) {
		dir, err = d.get(l, mountLabel)
		return err
	})
	return dir, err
}

func (d *Driver) get(l layer, mountLabel string) (string, error) {
	if err := l.require("layer"); err != nil {
		return "", err
	}
	lowers, err := l.lowers()
	if err != nil {
		return "", err
	}
	if err := d.use(l); err != nil {
		return "", err
	}
	if len(lowers) == 0 {
		return l.diff(), nil
	}
	if err := d.ensureMounted(l, lowers, mountLabel); err != nil {
		return "", err
	}
	d.refs.add(l.id)
	return l.merged(), nil
}

// ensureMounted mounts the layer unless it is. It asks the kernel and not the
// counts: somebody may have unmounted it behind our back.
func (d *Driver) ensureMounted(l layer, lowers []string, mountLabel string) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || mounted {
		return err
	}
	d.refs.forget(l.id)
	m, err := d.overlay(l, lowers, mountLabel)
	if err != nil {
		return err
	}
	if err := d.makeRootDir(l.merged(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.attach(l); err != nil {
		return errors.Join(err, removeMountPoint(l))
	}
	if err := m.Do(); err != nil {
		return errors.Join(err, d.detach(l), removeMountPoint(l))
	}
	return nil
}

// overlay is the layer's mount.
func (d *Driver) overlay(l layer, lowers []string, mountLabel string) (mount.Mount, error) {
	apart, err := l.apart()
	if err != nil {
		return mount.Mount{}, err
	}
	o := mount.Overlay{
		Apart:  apart,
		Dir:    string(d.home),
		Target: l.id + "/" + mergedName,
		Lowers: lowers,
		Upper:  l.id + "/" + diffName,
		Work:   l.id + "/" + workName,
		Label:  mountLabel,
		Off:    d.off,
	}
	_, err = os.Lstat(l.committed())
	switch {
	case err == nil:
		o.Lowers = append([]string{o.Upper}, lowers...)
		o.Upper, o.Work = "", ""
	case !errors.Is(err, fs.ErrNotExist):
		return mount.Mount{}, err
	default:
		if o.Volatile, err = d.volatile(l); err != nil {
			return mount.Mount{}, err
		}
	}
	return o.Mount()
}

// Put gives a reference back and unmounts the layer with the last one. A
// layer that is not mounted, or does not exist, needs nothing.
func (d *Driver) Put(ctx context.Context, id string) error {
	if err := checkID("layer", id); err != nil {
		return d.in("put", id, err)
	}
	return d.on("put", id, func(l layer) error { return d.put(ctx, l) })
}

func (d *Driver) put(ctx context.Context, l layer) error {
	if d.refs.drop(l.id) > 0 {
		return nil
	}
	lingers, err := d.release(l)
	if err != nil {
		return err
	}
	return d.keepStep(ctx, l, lingers)
}

// release unmounts the layer. Something on the host may still have a file
// open below it; then it is taken out of sight and ends with its last user,
// as overlay2 does; lingers says so.
func (d *Driver) release(l layer) (lingers bool, err error) {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || !mounted {
		return false, err
	}
	if err = mount.Unmount(l.merged()); errors.Is(err, fault.Busy) {
		logrus.WithField("layer", l.id).Info("still in use at its last put: detached")
		lingers, err = true, mount.Detach(l.merged())
	}
	if err != nil {
		return lingers, err
	}
	return lingers, errors.Join(removeMountPoint(l), d.detach(l))
}

// removeMountPoint removes the directory the layer was mounted on, which also
// ends the mount in every other mount name space.
func removeMountPoint(l layer) error {
	err := os.Remove(l.merged())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Exists reports whether there is a layer of that ID.
func (d *Driver) Exists(ctx context.Context, id string) (bool, error) {
	if err := checkID("layer", id); err != nil {
		return false, d.in("exists", id, err)
	}
	if err := d.present(); err != nil {
		return false, d.in("exists", id, err)
	}
	exists, err := d.home.layer(id).exists()
	return exists, d.in("exists", id, err)
}
