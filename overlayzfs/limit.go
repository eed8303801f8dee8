package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Limits are what a layer may hold; zero is no limit.
type Limits = quota.Limits

// SetLimits raises or lowers limits of a layer that was made with one, also
// while a container uses it. What the options, those of Create, do not name
// stays as it is.
func (d *Driver) SetLimits(ctx context.Context, id string, options map[string]string) error {
	if err := checkID("layer", id); err != nil {
		return d.in("limit", id, err)
	}
	change, err := CreateOptions{StorageOpt: options}.limit()
	if err == nil && len(change.Properties) > 0 {
		err = fault.New(fault.Unsupported, "only size and inodes can be changed; other properties are set when the container is made, or on its dataset with `zfs set`")
	}
	if err != nil {
		return d.in("limit", id, err)
	}
	return d.on("limit", id, func(l layer) error { return d.setLimits(ctx, l, change) })
}

func (d *Driver) setLimits(ctx context.Context, l layer, change wantedLimit) error {
	if err := l.require("layer"); err != nil {
		return err
	}
	p, err := l.place()
	if err != nil {
		return err
	}
	r, err := d.limits.Find(p.Key)
	if err != nil {
		return err
	}
	if r != nil {
		change.fill(r.Limits)
	}
	if err := d.limits.SetLimits(p, change.Limits); err != nil {
		return err
	}
	return d.noted(ctx)
}

// CheckLimits is why no layer made now can have a limit, or nil.
func (d *Driver) CheckLimits() error {
	if mode, why := d.limits.Mode(); mode == quota.Off {
		return why
	}
	return nil
}

// place is the layer as package quota knows it.
func (l layer) place() (quota.Layer, error) {
	key, err := readShort(l.dir())
	return quota.Layer{Key: key, Dir: l.dir()}, err
}

// apart reports whether the layer's content lies on a dataset of its own, where
// only attaching makes it reachable.
func (l layer) apart() (bool, error) {
	fi, err := os.Lstat(l.diff())
	return err == nil && fi.Mode().Type() == fs.ModeSymlink, err
}

// requireUnlimited refuses what cannot be done with a layer that has a limit:
// its content lies elsewhere, or must not be replaced.
func (d *Driver) requireUnlimited(l layer, what string) error {
	p, err := l.place()
	if err != nil {
		return err
	}
	r, err := d.limits.Find(p.Key)
	if err == nil && r != nil {
		err = fault.New(fault.Unsupported, "layer %s has a limit or properties of its own, and cannot %s; commit the container and use the image", l.id, what)
	}
	return err
}

// openUpper opens the directory with the layer's own content. What is opened
// stays reachable when the layer's dataset is detached again.
func (d *Driver) openUpper(l layer) (upper *os.File, err error) {
	apart, err := l.apart()
	if err != nil {
		return nil, err
	}
	if !apart {
		return os.Open(l.diff())
	}
	err = d.on("open", l.id, func(l layer) (err error) {
		upper, err = d.openApart(l)
		return err
	})
	return upper, err
}

func (d *Driver) openApart(l layer) (upper *os.File, err error) {
	p, err := l.place()
	if err != nil {
		return nil, err
	}
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil {
		return nil, err
	}
	if err := d.limits.Attach(p); err != nil {
		return nil, err
	}
	if !mounted {
		defer func() { err = errors.Join(err, d.limits.Detach(p)) }()
	}
	return os.Open(l.diff())
}

// attach makes the content of the layer reachable for a mount of it. A layer
// that is not limited needs nothing.
func (d *Driver) attach(l layer) error {
	p, err := l.place()
	if err != nil {
		return err
	}
	return d.limits.Attach(p)
}

func (d *Driver) detach(l layer) error {
	p, err := l.place()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.limits.Detach(p)
}

// live tells package quota whether a limited layer is there. What the last
// session left attached for no mount is detached, and what containers use is
// watched again.
func (d *Driver) live(r quota.Record, key string) (quota.Layer, bool) {
	l := d.home.layer(r.Layer)
	p := quota.Layer{Key: key, Dir: l.dir()}
	if !l.mayHave(key) {
		return p, false
	}
	mounted, err := d.inUse(l)
	switch {
	case err == nil && mounted:
		err = d.limits.Attach(p)
	case err == nil:
		err = d.limits.Detach(p)
	}
	warn(l.dir(), err)
	return p, true
}

// inUse reports whether a limited layer may be mounted. Who mounts it elsewhere
// does not say; what was attached stays so then.
func (d *Driver) inUse(l layer) (bool, error) {
	if !d.outside {
		return mount.IsOverlay(l.merged())
	}
	infos, err := mount.ListAt(l.home.path(l.id, quota.UpperName))
	return len(infos) > 0, err
}

// mayOwn reports whether a layer of that ID may have that key.
func (d *Driver) mayOwn(id, key string) bool {
	return checkID("layer", id) == nil && d.home.layer(id).mayHave(key)
}

// mayHave reports whether the layer may be the one with that key. Only one that
// is known to be gone, or to be another, is not: what a container wrote is not
// deleted because a file could not be read.
func (l layer) mayHave(key string) bool {
	short, err := readShort(l.dir())
	if err == nil {
		return short == key
	}
	exists, err := l.exists()
	return err != nil || exists
}
