package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Mount is a mount for the caller to make. Its paths are absolute and lead to the layers'
// directories: they are shorter than short links where the door chooses short IDs, and
// the mounter may look into them.
type Mount = mount.Mount

// WritableMount returns how to mount a layer without children for writing. It attaches the
// layer's dataset, which stays attached until the layer is removed or the host goes down:
// external mounters never report unmounts.
func (d *Driver) WritableMount(ctx context.Context, id string) (Mount, error) {
	d.carries.interrupt(id)
	return runLockedFor(ctx, d, "mount", id, func(l layer) (Mount, error) {
		return withLinks(ctx, d, func() (Mount, error) { return d.writableMount(l) })
	})
}

func (d *Driver) writableMount(l layer) (Mount, error) {
	if err := l.requireExists("layer"); err != nil {
		return Mount{}, err
	}
	if _, err := os.Lstat(l.committed()); !errors.Is(err, fs.ErrNotExist) {
		return Mount{}, errors.Join(err, fault.NewWithRemedy(fault.Busy, "the layer has children, and is not written to any more"))
	}
	lowers, err := l.resolveLowers()
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return bindMount(l.diff(), 0), nil
	}
	separate, err := d.hasDataset(l)
	if err != nil {
		return Mount{}, err
	}
	plain, err := d.showsPlainInodes(l, separate)
	if err != nil {
		return Mount{}, err
	}
	if err := d.attach(l); err != nil {
		return Mount{}, err
	}
	work := l.contentDir(workName, separate)
	m, err := mount.Overlay{Apart: separate, PlainInodes: plain, Lowers: lowers, Upper: l.contentDir(diffName, separate), Work: work, Off: d.disabledFeatures}.Mount()
	if err != nil {
		return Mount{}, err
	}
	// The mounter comes later, perhaps several times, and from any mount namespace.
	if err := d.tmpfiles.Watch(work); err != nil {
		logrus.WithError(err).WithField("layer", l.id).Warn("copy-ups in the layer wait for a transaction group")
	}
	return m, nil
}

// unwatch ends what WritableMount began, before the layer's work directory is committed or
// removed.
func (d *Driver) unwatch(l layer) {
	d.tmpfiles.Unwatch(l.contentDir(workName, false))
	d.tmpfiles.Unwatch(l.contentDir(workName, true))
}

// ViewMount returns how to mount a layer and all layers below it for reading.
func (d *Driver) ViewMount(ctx context.Context, id string) (Mount, error) {
	return runLockedFor(ctx, d, "view", id, func(l layer) (Mount, error) {
		return withLinks(ctx, d, func() (Mount, error) { return d.readOnlyMount(l) })
	})
}

func (d *Driver) readOnlyMount(l layer) (Mount, error) {
	if err := l.requireExists("layer"); err != nil {
		return Mount{}, err
	}
	if err := d.requireUnlimited(l, "be viewed"); err != nil {
		return Mount{}, err
	}
	lowers, err := l.resolveLowers()
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return bindMount(l.diff(), unix.MS_RDONLY), nil
	}
	if len(lowers)+1 > mount.MaxLowers {
		return Mount{}, fault.NewWithRemedy(fault.LimitReached, "the layer has %d layers below it; the kernel stacks at most %d", len(lowers), mount.MaxLowers)
	}
	return mount.Overlay{Lowers: append([]string{l.diff()}, lowers...), Off: d.disabledFeatures}.Mount()
}

func bindMount(dir string, flags uintptr) Mount {
	return Mount{Type: "bind", Source: dir, Flags: unix.MS_BIND | unix.MS_REC | flags}
}

// contentDir returns the layer's directory of that name. For a layer on a dataset of its
// own that is the target of the link, and not the link.
func (l layer) contentDir(name string, separate bool) string {
	if separate {
		return l.home.path(l.id, quota.UpperName, name)
	}
	return l.home.path(l.id, name)
}

// Chown sets the owner of the layer's root, for a container in a user name space. With
// sync=disabled it is as durable as what the container writes.
func (d *Driver) Chown(ctx context.Context, id string, uid, gid int) error {
	return d.runLocked(ctx, "set the owner of", id, func(l layer) error {
		separate, err := d.hasDataset(l)
		if err == nil {
			err = d.attach(l)
		}
		if err != nil {
			return err
		}
		// An fsync of another file does not commit the owner. Nor do the store's barriers,
		// where the directory lies on a dataset of its own.
		dir := l.contentDir(diffName, separate)
		if err := os.Lchown(dir, uid, gid); err != nil {
			return err
		}
		return d.observeBarrier(IntentLogBarrier, func() error { return syncFile(dir) })
	})
}

// LayerOwner returns the owner of the layer's root.
func (d *Driver) LayerOwner(ctx context.Context, id string) (uid, gid int, err error) {
	err = d.runLocked(ctx, "read the owner of", id, func(l layer) (err error) {
		if err := l.requireExists("layer"); err != nil {
			return err
		}
		uid, gid, err = ownerOf(l.diff())
		return err
	})
	return uid, gid, err
}

// ownerOf returns the owner of a file. It follows symbolic links.
func ownerOf(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("stat %q: %w", path, err)
	}
	return int(st.Uid), int(st.Gid), nil
}

// CheckHome makes sure that the pool answers and that the home still shows the dataset.
// Every call does that first.
func (d *Driver) CheckHome(context.Context) error { return d.addContext("look", "", d.checkHome()) }

// Layers lists the IDs of all layers.
func (d *Driver) Layers(ctx context.Context) ([]string, error) {
	if err := d.checkHome(); err != nil {
		return nil, d.addContext("list", "", err)
	}
	names, err := readNames(string(d.home))
	if err != nil {
		return nil, d.addContext("list", "", err)
	}
	ids := names[:0]
	for _, name := range names {
		if checkID("layer", name) == nil {
			ids = append(ids, name)
		}
	}
	return ids, nil
}

// MakeDoorDir makes the directory for a door's own records and returns its path. It lies
// on the dataset, so that records and layers are of one moment in a snapshot.
func (d *Driver) MakeDoorDir(name string) (string, error) {
	if err := checkID("door", name); err != nil {
		return "", err
	}
	dir := d.home.privatePath(recordsDir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", d.addContext("make records of "+name, "", err)
	}
	return dir, nil
}
