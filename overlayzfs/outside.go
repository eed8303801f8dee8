package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Mount is a mount for somebody else to make. Its paths are absolute and lead to
// layers' directories themselves: they are shorter than short links where the
// door chooses short IDs, and whoever mounts may look into them.
type Mount = mount.Mount

// WritableMount returns how a layer without children is mounted to be written
// to. What it needs is attached then, and stays so until the layer is removed or
// the host goes down: nobody says when such a mount ends.
func (d *Driver) WritableMount(ctx context.Context, id string) (m Mount, err error) {
	if err := checkID("layer", id); err != nil {
		return Mount{}, d.in("mount", id, err)
	}
	err = d.on("mount", id, func(l layer) (err error) {
		m, err = d.writable(l)
		return err
	})
	return m, err
}

func (d *Driver) writable(l layer) (Mount, error) {
	if err := l.require("layer"); err != nil {
		return Mount{}, err
	}
	if _, err := os.Lstat(l.committed()); !errors.Is(err, fs.ErrNotExist) {
		return Mount{}, errors.Join(err, fault.NewWithRemedy(fault.Busy, "it has children; a layer that something stands on is not written to"))
	}
	lowers, err := l.lowerDirs()
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return bind(l.diff(), 0), nil
	}
	apart, err := l.apart()
	if err != nil {
		return Mount{}, err
	}
	if err := d.attach(l); err != nil {
		return Mount{}, err
	}
	return mount.Overlay{Apart: apart, Lowers: lowers, Upper: l.content(diffName, apart), Work: l.content(workName, apart), Off: d.off}.Mount()
}

// ViewMount returns how a layer is mounted, with all below it, to be read.
func (d *Driver) ViewMount(ctx context.Context, id string) (m Mount, err error) {
	if err := checkID("layer", id); err != nil {
		return Mount{}, d.in("view", id, err)
	}
	err = d.on("view", id, func(l layer) (err error) {
		m, err = d.readable(l)
		return err
	})
	return m, err
}

func (d *Driver) readable(l layer) (Mount, error) {
	if err := l.require("layer"); err != nil {
		return Mount{}, err
	}
	if err := d.requireUnlimited(l, "be viewed"); err != nil {
		return Mount{}, err
	}
	lowers, err := l.lowerDirs()
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return bind(l.diff(), unix.MS_RDONLY), nil
	}
	if len(lowers)+1 > mount.MaxLowers {
		return Mount{}, fault.NewWithRemedy(fault.LimitReached, "it stands on %d layers; the kernel stacks at most %d", len(lowers), mount.MaxLowers)
	}
	return mount.Overlay{Lowers: append([]string{l.diff()}, lowers...), Off: d.off}.Mount()
}

func bind(dir string, flags uintptr) Mount {
	return Mount{Type: "bind", Source: dir, Flags: unix.MS_BIND | unix.MS_REC | flags}
}

// content is the directory of that name, past the link that leads to a limited
// layer's dataset.
func (l layer) content(name string, apart bool) string {
	if apart {
		return l.home.path(l.id, quota.UpperName, name)
	}
	return l.home.path(l.id, name)
}

// Chown gives the root of the layer an owner, as a container in a user name space
// needs it. It is durable with the caller's next barrier.
func (d *Driver) Chown(ctx context.Context, id string, uid, gid int) error {
	if err := checkID("layer", id); err != nil {
		return d.in("own", id, err)
	}
	return d.on("own", id, func(l layer) error {
		apart, err := l.apart()
		if err == nil {
			err = d.attach(l)
		}
		if err != nil {
			return err
		}
		dir := l.content(diffName, apart)
		if err := os.Lchown(dir, uid, gid); err != nil || !apart {
			return err
		}
		return d.syncApart(dir)
	})
}

// syncApart commits the intent log of a limited layer's own dataset, which no
// barrier of the store looks at.
func (d *Driver) syncApart(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.waits(IntentLogBarrier, func() error { return syncFileSystem(f) })
}

// LayerOwner is the owner of the layer's root.
func (d *Driver) LayerOwner(ctx context.Context, id string) (uid, gid int, err error) {
	if err := checkID("layer", id); err != nil {
		return 0, 0, d.in("owner", id, err)
	}
	err = d.on("owner", id, func(l layer) (err error) {
		if err := l.require("layer"); err != nil {
			return err
		}
		uid, gid, err = ownerOf(l.diff())
		return err
	})
	return uid, gid, err
}

// WaitReaper waits until the files of removed layers are deleted.
func (d *Driver) WaitReaper(ctx context.Context) error {
	return d.in("delete removed layers", "", d.reaper.idle(ctx))
}

// CheckHome makes sure that the pool answers and that the dataset is where it was
// when the store was opened, as every call does first.
func (d *Driver) CheckHome(context.Context) error { return d.in("look", "", d.present()) }

// Layers lists what layers there are.
func (d *Driver) Layers(ctx context.Context) ([]string, error) {
	if err := d.present(); err != nil {
		return nil, d.in("list", "", err)
	}
	names, err := readNames(string(d.home))
	if err != nil {
		return nil, d.in("list", "", err)
	}
	ids := names[:0]
	for _, name := range names {
		if checkID("layer", name) == nil {
			ids = append(ids, name)
		}
	}
	return ids, nil
}
