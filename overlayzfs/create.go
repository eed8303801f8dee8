package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Create makes the layer id, empty, standing on parent or, with parent empty,
// on nothing. The parent is shown read-only from then on.
func (d *Driver) Create(ctx context.Context, id, parent string, o CreateOptions) error {
	if err := checkPair(id, parent); err != nil {
		return d.in("create", id, err)
	}
	return d.on("create", id, func(l layer) error { return d.create(ctx, l, parent, o) })
}

func (d *Driver) create(ctx context.Context, l layer, parent string, o CreateOptions) error {
	limit, err := d.wanted(o, parent)
	if err != nil {
		return err
	}
	exists, err := l.exists()
	if err != nil {
		return err
	}
	if exists {
		return fault.New(fault.Exists, "a layer with this ID already exists")
	}
	lowers, err := d.adopt(parent)
	if err != nil {
		return err
	}
	if err := d.mark(l, o); err != nil {
		return err
	}
	if err := d.build(l, lowers, limit); err != nil {
		return errors.Join(err, d.settle(l.id))
	}
	if err := d.made(ctx, o); err != nil {
		return errors.Join(err, d.remove(l)) // the caller does not
	}
	if o.ReadWrite {
		d.quiet.add(l.id)
	}
	if o.companion() && limit.Empty() && !d.outside { // the kernel's mark of a volatile mount is on this dataset
		d.companions.add(l.id)
	}
	return nil
}

// wanted is what is asked for the layer, if it can be had.
func (d *Driver) wanted(o CreateOptions, parent string) (quota.Spec, error) {
	limit, err := o.limit()
	if err != nil {
		return quota.Spec{}, err
	}
	if o.Exempt {
		return quota.Spec{}, nil
	}
	if o.ReadWrite {
		limit.fill(d.preset)
	}
	if limit.Empty() {
		return quota.Spec{}, nil
	}
	if !o.ReadWrite || parent == "" {
		return quota.Spec{}, fault.New(fault.Unsupported, "only a container's layer, which stands on an image, can have a limit or properties of its own")
	}
	return limit.Spec, d.limits.Check(limit.Spec)
}

// mark notes that the layer waits for content, which a container's does not.
func (d *Driver) mark(l layer, o CreateOptions) error {
	if o.ReadWrite {
		return d.settle(l.id)
	}
	return writeEmpty(d.home.building(l.id))
}

// adopt makes parent a parent: it has to exist and must not change any more.
func (d *Driver) adopt(parent string) (lowers []string, err error) {
	if parent == "" {
		return nil, nil
	}
	p := d.home.layer(parent)
	if err := p.require("parent layer"); err != nil {
		return nil, err
	}
	// Its content may still be on the way. A layer that exists never waits for
	// one that is being made, so that the two locks cannot block each other.
	defer d.hold(parent)()
	if err := p.require("parent layer"); err != nil {
		return nil, err
	}
	if err := d.requireUnlimited(p, "be stood on"); err != nil {
		return nil, err
	}
	if lowers, err = p.stack(); err != nil {
		return nil, err
	}
	return lowers, d.commit(p)
}

// commit notes that a layer is a parent, if it was none before.
func (d *Driver) commit(p layer) error {
	_, err := os.Lstat(p.committed())
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.settle(p.id); err != nil {
		return err
	}
	return writeEmpty(p.committed())
}

// build makes the layer's directory aside and puts it into place in one step.
func (d *Driver) build(l layer, lowers []string, limit quota.Spec) (err error) {
	short := newShort()
	stage := d.home.own(newName, short)
	defer func() {
		if err != nil {
			d.discardLayer(context.Background(), stage)
		}
	}()
	if err := d.fill(quota.Layer{Key: short, Dir: stage}, l.id, lowers, limit); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..", l.id, diffName), d.home.path(linkDir, short)); err != nil {
		return err
	}
	return publish(stage, l.dir())
}

func (d *Driver) fill(p quota.Layer, id string, lowers []string, limit quota.Spec) error {
	_, gid := d.ids.RootPair()
	if err := makeDir(p.Dir, 0o710, os.Getuid(), gid); err != nil {
		return err
	}
	if err := fsat.WriteSmall(filepath.Join(p.Dir, linkName), []byte(p.Key), 0o644); err != nil {
		return err
	}
	if len(lowers) > 0 {
		if err := fsat.WriteSmall(filepath.Join(p.Dir, lowerName), []byte(strings.Join(lowers, ":")), 0o644); err != nil {
			return err
		}
	}
	contents := func(dir string) error { return d.makeContents(dir, len(lowers) > 0) }
	if limit.Empty() {
		return contents(p.Dir)
	}
	return d.limits.Make(p, id, limit, contents)
}

// makeContents makes the directories that a container writes to.
func (d *Driver) makeContents(dir string, overlay bool) error {
	err := d.makeRootDir(filepath.Join(dir, diffName), 0o755)
	if err == nil && overlay {
		err = d.makeRootDir(filepath.Join(dir, workName), 0o700)
	}
	return err
}

// makeRootDir makes a directory that belongs to the containers' root.
func (d *Driver) makeRootDir(path string, mode os.FileMode) error {
	uid, gid := d.ids.RootPair()
	return makeDir(path, mode, uid, gid)
}

// makeDir makes a directory whatever the process's umask is. It changes only
// what is not right already: each change would be a transaction.
func makeDir(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	right, err := hasAttributes(path, uint32(mode), uid, gid)
	if err != nil || right {
		return err
	}
	return errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid))
}

// settle makes a building or mutable layer ready: from now on it is kept as it
// is.
func (d *Driver) settle(id string) error {
	return errors.Join(unlinkIfThere(d.home.building(id)), unlinkIfThere(d.home.mutable(id)))
}

// writeEmpty makes an empty file unless there is one.
func writeEmpty(path string) error {
	err := fsat.WriteSmall(path, nil, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
