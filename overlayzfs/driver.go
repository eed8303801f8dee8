package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/locker"
	"github.com/moby/sys/user"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Driver is an open store of layers. It is safe for concurrent use: calls on
// different layers do not wait for each other.
type Driver struct {
	home    home
	dataset string
	ids     user.IdentityMapping
	off     []string // overlay features to switch off, as far as the kernel has them

	canVolatile bool // the kernel has overlayfs's option volatile

	lock     *os.File     // the home, locked for as long as the store is open; also the barrier's handle
	answered atomic.Int64 // when the pool last answered, in nanoseconds
	mounted  bool         // the dataset's mount is the driver's, to be taken back
	outside  bool         // layers are mounted by somebody else, see Options.Door

	zfs    *zfs.Handle // nil without /dev/zfs
	groups groups

	logsXattrs bool // the pool lets the intent log have extended attributes

	limits *quota.Limiter
	preset Limits // of layers that ask for none
	copyUp string // what one costs here; empty when that is not known

	snapshots *snapshot.Scheduler

	observer Observer

	resumes func(id string) bool                              // see Options.Resumes
	stray   func(id string, exists func(id string) bool) bool // see Options.Stray

	layers *locker.Locker
	refs   refs
	reaper *reaper

	// quiet are the layers of which a Diff records nothing new: a container's, whose
	// diff becomes another layer, and what ApplyDiff or a build step's last Put made
	// durable.
	quiet idSet
	// companions are recorded together with a layer that will stand on them, and
	// become durable with its Create.
	companions idSet

	// session is held shared by every call that changes something, and exclusively
	// by Restart, which must not sort out layers that a call is still working on.
	session sync.RWMutex
}

// Open opens the store in home, making it when there is none, and brings
// order to what an earlier process left unfinished.
func Open(ctx context.Context, path string, o Options) (*Driver, error) {
	d, err := open(ctx, path, o)
	return d, fault.AddContext(fault.Op{Name: "open " + path, Dataset: o.Dataset}, err)
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
		home: p.home, dataset: p.dataset, ids: o.IDs, off: off, lock: p.lock, mounted: p.mounted, outside: o.Door != "",
		preset: o.Limits, layers: locker.New(), refs: refs{home: p.home}, observer: unobserved{},
	}
	if d.outside {
		d.mounted = p.fresh // containers may stand on what an earlier process mounted
	}
	if o.Observer != nil {
		d.observer = o.Observer
	}
	d.groups.sync = d.syncGroup
	d.reaper = newReaper(d.discardLayer)
	if d.canVolatile, err = mount.HasVolatile(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.start(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.outside {
		d.mounted = false // somebody may use it as long as there are layers
	}
	d.announce()
	d.observer.ObserveOpen(d)
	return d, nil
}

// start takes up what the driver works with, and the order of the store.
func (d *Driver) start(ctx context.Context, o Options) (err error) {
	var lacking error
	if d.zfs, lacking = zfs.Open(); lacking != nil {
		logrus.WithError(lacking).Warn("no limits, no snapshots, and with sync=disabled no durable layers")
	}
	if abi := d.zfs.ABI(); d.zfs != nil && !abi.Known {
		logrus.WithField("version", abi.Version).Warn("this OpenZFS is newer than those this overlayzfs was compared with; its interface passed the checks")
	}
	d.logsXattrs = logsXattrs(d.zfs, d.pool())
	if err := errors.Join(d.requireNoRollback(), d.requireReceived(o)); err != nil {
		return err
	}
	if err := checkDoor(d.home, o.Door); err != nil {
		return err
	}
	store, err := ownName(d.home)
	if err != nil {
		return err
	}
	d.limits, err = quota.Open(ctx, quota.Config{
		ZFS: d.zfs, Unavailable: lacking, Dataset: d.dataset, Store: store, Mode: o.Quota,
		Home: d.home.own(newName), Records: d.home.own(limitsName), MayOwn: d.mayOwn,
	})
	if err != nil {
		return err
	}
	if err := d.limits.Check(quota.Spec{Limits: o.Limits}); err != nil {
		return fmt.Errorf("overlayzfs.size or overlayzfs.inodes: %w", err)
	}
	if err := d.setSync(o.Sync); err != nil {
		return err
	}
	d.resumes, d.stray = o.MayResume, o.IsStray
	if err := errors.Join(d.refs.recover(), d.recover(ctx)); err != nil {
		return err
	}
	if err := d.clearStrays(ctx); err != nil {
		return err
	}
	if err := d.startSnapshots(o); err != nil {
		return err
	}
	d.measureCopyUp(ctx)
	d.took(ctx, snapshot.Start)
	return nil
}

// Restart begins a new session: the callers of before are gone. It finishes
// or undoes what they left unfinished and forgets their references. It fails
// with class HomeGone when the home no longer shows the dataset.
func (d *Driver) Restart(ctx context.Context) error {
	if err := d.present(); err != nil {
		return d.in("restart", "", err)
	}
	d.session.Lock()
	defer d.session.Unlock()
	err := d.present()
	if err == nil {
		err = errors.Join(d.refs.restart(), d.recover(ctx))
	}
	if err == nil {
		d.took(ctx, snapshot.Start)
	}
	return d.in("restart", "", err)
}

// Close gives the store up. Mounted layers stay: containers use them. When
// there is none, a dataset that the driver mounted is unmounted.
func (d *Driver) Close() error {
	d.observer.ObserveClose(d)
	d.session.Lock()
	defer d.session.Unlock()
	if err := errors.Join(d.stop(), d.lock.Close()); err != nil || !d.mounted {
		return err
	}
	inUse, err := mountedLayers(d.home)
	if err != nil || len(inUse) > 0 {
		return err
	}
	if err := answers(d.dataset); err != nil {
		logrus.WithError(err).WithField("dataset", d.dataset).Warn("stays mounted")
		return nil
	}
	if err := mount.Unmount(string(d.home)); !errors.Is(err, fault.Busy) {
		return err
	}
	logrus.WithField("dataset", d.dataset).Info("still in use elsewhere: stays mounted")
	return nil
}

// stop ends what runs in the background.
func (d *Driver) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.snapshots.Close(ctx); err != nil {
		logrus.WithError(err).Warn("a snapshot that was due may be missing")
	}
	if err := d.reaper.close(ctx); err != nil {
		logrus.WithError(err).Warn("removed layers are still being deleted")
	}
	if d.limits != nil {
		d.limits.Close()
	}
	return d.zfs.Close()
}

// stopTimeout is what is left of the ten seconds that an engine gives a plugin
// to end, when its calls took what the door allows them.
const stopTimeout = 2 * time.Second

// answerAge is how long it is believed that the pool answers: asking takes
// longer than much else that a call does.
const answerAge = 50 * time.Millisecond

// on runs an operation on a layer, alone on that layer, and gives its error
// the context.
func (d *Driver) on(op, id string, run func(layer) error) error {
	// Asked first: whoever waits for a pool that is suspended holds locks.
	if err := d.present(); err != nil {
		return d.in(op, id, err)
	}
	d.session.RLock()
	defer d.session.RUnlock()
	defer d.hold(id)()
	err := d.present() // others may have been at work meanwhile
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

// present makes sure that the pool answers and that the home still shows the
// dataset. Were it unmounted behind our back, layers would seem gone, and new
// ones would be made where nobody finds them again.
func (d *Driver) present() error {
	if time.Since(time.Unix(0, d.answered.Load())) > answerAge {
		if err := answers(d.dataset); err != nil {
			return err
		}
		d.answered.Store(time.Now().UnixNano())
	}
	same, err := isFile(string(d.home), d.lock)
	if err == nil && !same {
		err = fault.New(fault.HomeGone, "the dataset is no longer mounted on %s", d.home)
	}
	return err
}

// answers makes sure that the dataset's pool is not suspended: whoever asks one
// that is for more than it remembers waits, and cannot even be killed.
func answers(dataset string) error {
	pool := zfs.PoolOf(dataset)
	if state, err := zfs.PoolState(pool); err == nil && state == zfs.PoolSuspended {
		return fault.New(fault.PoolUnavailable, "pool %s is suspended: it waits for its devices", pool)
	}
	return nil
}

// in gives err its context.
func (d *Driver) in(op, id string, err error) error {
	return fault.AddContext(fault.Op{Name: op, Layer: id, Dataset: d.dataset}, err)
}

// pool is the pool that the store lies on.
func (d *Driver) pool() string { return zfs.PoolOf(d.dataset) }

// tarOptions is how layer tars are read and written in this store.
func (d *Driver) tarOptions() layertar.Options { return layertar.Options{IDs: d.ids} }
