package overlayzfs

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/moby/locker"
	"github.com/moby/sys/user"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// Driver is an open store of layers. It is safe for concurrent use: calls on
// different layers do not wait for each other.
type Driver struct {
	home    home
	dataset string
	ids     user.IdentityMapping
	off     []string // overlay features to switch off, as far as the kernel has them
	lock    *os.File // the home, locked for as long as the store is open; also the barrier's handle
	mounted bool     // the dataset's mount is the driver's, to be taken back

	layers *locker.Locker
	refs   refs

	// session is held shared by every call that changes something, and exclusively
	// by Restart, which must not sort out layers that a call is still working on.
	session sync.RWMutex
}

// Open opens the store in home, making it when there is none, and brings
// order to what an earlier process left unfinished.
func Open(ctx context.Context, path string, o Options) (*Driver, error) {
	d, err := open(ctx, path, o)
	return d, fault.In(fault.Op{Name: "open " + path, Dataset: o.Dataset}, err)
}

func open(ctx context.Context, path string, o Options) (_ *Driver, err error) {
	off, err := mount.FeaturesToDisable()
	if err != nil {
		return nil, err
	}
	p, err := prepareHome(ctx, path, o)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		home: p.home, dataset: p.dataset, ids: o.IDs, off: off, lock: p.lock, mounted: p.mounted,
		layers: locker.New(), refs: refs{home: p.home},
	}
	if err := errors.Join(d.refs.recover(), d.recover(ctx)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	logrus.WithFields(logrus.Fields{"home": path, "dataset": p.dataset}).Info("store opened")
	return d, nil
}

// Restart begins a new session: the callers of before are gone. It finishes
// or undoes what they left unfinished and forgets their references. It fails
// with class HomeGone when the home no longer shows the dataset.
func (d *Driver) Restart(ctx context.Context) error {
	d.session.Lock()
	defer d.session.Unlock()
	err := d.present()
	if err == nil {
		err = errors.Join(d.refs.restart(), d.recover(ctx))
	}
	return d.in("restart", "", err)
}

// Close gives the store up. Mounted layers stay: containers use them. When
// there is none, a dataset that the driver mounted is unmounted.
func (d *Driver) Close() error {
	d.session.Lock()
	defer d.session.Unlock()
	if err := d.lock.Close(); err != nil || !d.mounted {
		return err
	}
	inUse, err := mountedLayers(d.home)
	if err != nil || len(inUse) > 0 {
		return err
	}
	if err := mount.Unmount(string(d.home)); !errors.Is(err, fault.Busy) {
		return err
	}
	logrus.WithField("dataset", d.dataset).Info("still in use elsewhere: stays mounted")
	return nil
}

// on runs an operation on a layer, alone on that layer, and gives its error
// the context.
func (d *Driver) on(op, id string, run func(layer) error) error {
	d.session.RLock()
	defer d.session.RUnlock()
	defer d.hold(id)()
	err := d.present()
	if err == nil {
		err = run(d.home.layer(id))
	}
	return d.in(op, id, err)
}

// hold takes a layer's lock and returns what gives it back.
func (d *Driver) hold(id string) (release func()) {
	d.layers.Lock(id)
	return func() {
		// Unlock fails only for a name that is not locked.
		if err := d.layers.Unlock(id); err != nil {
			logrus.WithError(err).WithField("layer", id).Error("unlock")
		}
	}
}

// present makes sure that the home still shows the dataset. Were it unmounted
// behind our back, layers would seem gone, and new ones would be made where
// nobody finds them again.
func (d *Driver) present() error {
	same, err := isFile(string(d.home), d.lock)
	if err == nil && !same {
		err = fault.New(fault.HomeGone, "the dataset is no longer mounted on %s", d.home)
	}
	return err
}

// in gives err its context.
func (d *Driver) in(op, id string, err error) error {
	return fault.In(fault.Op{Name: op, Layer: id, Dataset: d.dataset}, err)
}

// barrier makes all that was done so far durable, as far as the dataset's
// sync property lets it.
func (d *Driver) barrier() error { return syncFileSystem(d.lock) }

// tarOptions is how layer tars are read and written in this store.
func (d *Driver) tarOptions() layertar.Options { return layertar.Options{IDs: d.ids} }
