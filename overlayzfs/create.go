package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Create makes the layer id, empty, standing on parent or, with parent empty,
// on nothing. The parent is shown read-only from then on.
func (d *Driver) Create(ctx context.Context, id, parent string, o CreateOptions) error {
	if err := checkPair(id, parent); err != nil {
		return d.in("create", id, err)
	}
	return d.on("create", id, func(l layer) error { return d.create(l, parent, o) })
}

func (d *Driver) create(l layer, parent string, o CreateOptions) error {
	if err := o.check(); err != nil {
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
	if err := d.build(l, lowers); err != nil {
		return errors.Join(err, d.settle(l.id))
	}
	return d.barrier()
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
	if lowers, err = p.stack(); err != nil {
		return nil, err
	}
	if err := writeEmpty(p.committed()); err != nil {
		return nil, err
	}
	return lowers, d.settle(parent)
}

// build makes the layer's directory aside and puts it into place in one step.
func (d *Driver) build(l layer, lowers []string) (err error) {
	short := newShort()
	stage := d.home.own(newName, short)
	defer func() {
		if err != nil {
			d.discardLayer(stage)
		}
	}()
	if err := d.fill(stage, short, lowers); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..", l.id, diffName), d.home.path(linkDir, short)); err != nil {
		return err
	}
	return publish(stage, l.dir())
}

func (d *Driver) fill(stage, short string, lowers []string) error {
	_, gid := d.ids.RootPair()
	if err := makeDir(stage, 0o710, os.Getuid(), gid); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(stage, linkName), []byte(short), 0o644); err != nil {
		return err
	}
	if err := d.makeRootDir(filepath.Join(stage, diffName), 0o755); err != nil {
		return err
	}
	if len(lowers) == 0 {
		return nil
	}
	if err := d.makeRootDir(filepath.Join(stage, workName), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(stage, lowerName), []byte(strings.Join(lowers, ":")), 0o644)
}

// makeRootDir makes a directory that belongs to the containers' root.
func (d *Driver) makeRootDir(path string, mode os.FileMode) error {
	uid, gid := d.ids.RootPair()
	return makeDir(path, mode, uid, gid)
}

// makeDir makes a directory whatever the process's umask is.
func makeDir(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid))
}

// settle makes a building layer ready: from now on it is kept.
func (d *Driver) settle(id string) error {
	err := os.Remove(d.home.building(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// writeEmpty makes an empty file unless there is one.
func writeEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
