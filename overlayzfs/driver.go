package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/sys/user"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/ctxlock"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Driver is an open store of layers. It is safe for concurrent use, and calls on different
// layers do not wait for each other.
type Driver struct {
	home             home
	dataset          string
	ids              user.IdentityMapping
	disabledFeatures []string // overlay features to switch off, among those of the kernel

	hasVolatile bool // the kernel has overlayfs's option volatile

	lock           *os.File     // the home, locked while the store is open; barriers use it too
	lastAnswer     atomic.Int64 // when the pool last answered, in nanoseconds
	managesMount   bool         // Close unmounts the dataset
	externalMounts bool         // the caller mounts the layers, see Options.Door

	zfs        *zfs.Handle // nil without /dev/zfs
	txgs       txgWaiter
	freed      txgWaiter // as txgs, until freed space is usable again
	hasWaitTxg bool      // see probeWaitTxg

	hasXattrLog bool // the intent log may contain extended attributes

	limits *quota.Limiter
	preset Limits // for containers' layers that ask for no limit
	xino   string // see Options.XIno
	copyUp CopyUp
	// tmpfiles keeps the layers' overlays from copy-ups that wait; nil where it cannot.
	tmpfiles *mount.TmpfileListener

	snapshots *snapshot.Scheduler

	observer Observer

	mayResume func(id string) bool                              // see Options.MayResume
	strayFunc func(id string, exists func(id string) bool) bool // see Options.IsStray
	mayBeTorn func(id string, exists func(id string) bool) bool // see Options.MayBeTorn

	layers ctxlock.Keys
	// repairing is held while lost short links are made again.
	repairing sync.Mutex
	refs      refCounts
	reaper    *reaper
	calls     callCount

	endings endings
	carries carries

	building, mutable idSet // the layers with marks, see marks.go
	// limited are the layers that may have a limit. It lacks none: other layers' records need
	// not be looked for.
	limited       idSet
	root          unix.Stat_t // of the open home
	unknownLimits bool        // a record of limits names no layer
	// durableLayers are the layers whose Diff needs no barrier: layers that ApplyDiff or a
	// build step's last Put made durable, and containers', whose diff becomes another layer.
	durableLayers idSet
	// untriedLayers are the layers of this process that no ApplyDiff was called for.
	untriedLayers idSet
	// durableWithChild are the layers that are recorded together with their child. The
	// child's Create makes them durable.
	durableWithChild idSet

	// storeLock is held shared by every call that changes something. Restart, Cleanup and
	// Close hold it exclusively: recovery must not touch layers that a call works on.
	storeLock ctxlock.RW
}

// Open opens the store in a directory and recovers the unfinished work of an earlier
// process. It makes the store when there is none.
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
		home: p.home, dataset: p.dataset, ids: o.IDs, disabledFeatures: off, lock: p.lock, managesMount: p.managesMount, externalMounts: o.Door != "",
		preset: o.Limits, xino: o.XIno, storeLock: ctxlock.NewRW(), refs: refCounts{home: p.home}, observer: noObserver{},
	}
	if err := unix.Fstat(int(d.lock.Fd()), &d.root); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.externalMounts {
		d.managesMount = p.isNewMount // containers may use an earlier process's mount
	}
	if o.Observer != nil {
		d.observer = o.Observer
	}
	d.txgs.sync, d.freed.sync = d.syncTxg, d.syncPool
	d.reaper = newReaper(d.discardLayer, &d.calls)
	if d.hasVolatile, err = mount.HasVolatile(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.start(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.externalMounts {
		d.managesMount = false // a mounter may use it as long as layers exist
	}
	d.announce()
	d.observer.ObserveOpen(d)
	return d, nil
}

// start opens ZFS, checks the store, recovers it and begins to take snapshots.
func (d *Driver) start(ctx context.Context, o Options) (err error) {
	var lacking error
	if d.zfs, lacking = zfs.Open(); lacking != nil {
		logrus.WithError(lacking).Warn("cannot use /dev/zfs: no limits, no snapshots, and with sync=disabled no durable layers")
	}
	if abi := d.zfs.ABI(); d.zfs != nil && !abi.Known {
		logrus.WithField("version", abi.Version).Warn("this OpenZFS is newer than the versions that overlayzfs was tested with; its interface passed the checks")
	}
	d.hasXattrLog = poolLogsXattrs(d.zfs, d.pool())
	if err := errors.Join(d.requireNoRollback(), d.requireReceived(o)); err != nil {
		return err
	}
	if err := checkDoor(d.home, o.Door); err != nil {
		return err
	}
	store, err := ensureStoreName(d.home)
	if err != nil {
		return err
	}
	d.limits, err = quota.Open(ctx, quota.Config{
		ZFS: d.zfs, Unavailable: lacking, Dataset: d.dataset, Store: store, Mode: o.Quota,
		Staging: d.home.privatePath(newDir), Records: d.home.privatePath(limitsDir), MayHaveKey: d.mayHaveKey, Spares: spareDatasets, IdleFor: d.calls.idleFor,
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
	d.mayResume, d.strayFunc, d.mayBeTorn = o.MayResume, o.IsStray, o.MayBeTorn
	if err := d.recoverStore(ctx); err != nil {
		return err
	}
	if err := d.startSnapshots(o); err != nil {
		return err
	}
	d.probeWaitTxg(ctx)
	d.probeCopyUp(ctx)
	d.takeSnapshot(ctx, snapshot.Start)
	return nil
}

// recoverStore finishes or undoes what earlier processes left, and what a power cut left.
func (d *Driver) recoverStore(ctx context.Context) error {
	boot, err := d.home.readBoot()
	if err != nil {
		return err
	}
	if err := errors.Join(d.loadMarks(), d.loadLimited()); err != nil {
		return err
	}
	if err := d.removeTornBuilds(ctx, boot); err != nil {
		return err
	}
	if err := errors.Join(d.refs.rebuildFromDisk(), d.recover(ctx)); err != nil {
		return err
	}
	if err := d.cleanAfterBoot(ctx, boot); err != nil {
		return err
	}
	if err := d.checkLinks(ctx, boot); err != nil {
		return err
	}
	d.home.writeBoot(boot)
	return nil
}

// Restart begins a new session, when the callers of the last one are gone. It finishes or
// undoes their unfinished work and forgets their references. The error is of class
// HomeGone when the home no longer shows the dataset.
func (d *Driver) Restart(ctx context.Context) error {
	if err := d.checkHome(); err != nil {
		return d.addContext("restart", "", err)
	}
	d.carries.interrupt("")
	release, err := d.storeLock.Lock(ctx)
	if err != nil {
		return d.addContext("restart", "", err)
	}
	defer release()
	err = d.checkHome()
	if err == nil {
		err = errors.Join(d.refs.resetToMounts(), d.recover(ctx))
	}
	if err == nil {
		d.takeSnapshot(ctx, snapshot.Start)
	}
	return d.addContext("restart", "", err)
}

// Close closes the store. Mounted layers stay mounted, because containers use them. When
// none is mounted, a dataset that the driver mounted is unmounted.
func (d *Driver) Close() error {
	d.observer.ObserveClose(d)
	d.carries.interrupt("")
	release, err := d.storeLock.Lock(context.Background())
	if err != nil {
		return err
	}
	defer release()
	if err := errors.Join(d.stop(), d.lock.Close()); err != nil || !d.managesMount {
		return err
	}
	inUse, err := mountedLayers(d.home)
	if err != nil || len(inUse) > 0 {
		return err
	}
	if err := checkPool(d.dataset); err != nil {
		logrus.WithError(err).WithField("dataset", d.dataset).Warn("the dataset stays mounted")
		return nil
	}
	if err := mount.Unmount(string(d.home)); !errors.Is(err, fault.Busy) {
		return err
	}
	logrus.WithField("dataset", d.dataset).Info("the dataset is in use elsewhere, and stays mounted")
	return nil
}

// stop ends the work in the background.
func (d *Driver) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.snapshots.Close(ctx); err != nil {
		logrus.WithError(err).Warn("a due snapshot may be missing")
	}
	if err := d.reaper.close(ctx); err != nil {
		logrus.WithError(err).Warn("files of removed layers are still being deleted")
	}
	if err := d.endings.waitAll(ctx); err != nil {
		logrus.WithError(err).Warn("what containers wrote is still being synced")
	}
	if d.limits != nil {
		_ = d.limits.WaitDiscards(ctx) // the next start discards the rest
		d.limits.Close()
	}
	d.closeTmpfileListener()
	return d.zfs.Close()
}

// stopTimeout is the rest of the ten seconds that an engine gives a plugin to end, after
// the door has waited for its calls.
const stopTimeout = 2 * time.Second

// requireNoRollback keeps the store closed while a rollback of it is half done. Layers and
// records are not of one moment then.
func (d *Driver) requireNoRollback() error {
	if d.zfs == nil {
		return nil
	}
	to, err := snapshot.PendingRollback(d.zfs, d.dataset)
	if err == nil && to != "" {
		err = snapshot.UnfinishedError(d.dataset, to)
	}
	return err
}

// startSnapshots begins to take snapshots as the administrator chose.
func (d *Driver) startSnapshots(o Options) (err error) {
	if len(o.Snapshots) > 0 && d.zfs == nil {
		return fault.New(fault.Unsupported, "overlayzfs.snapshots needs /dev/zfs; give the plugin the device, or remove the option")
	}
	if len(o.Snapshots) > 0 && d.managesMount && o.Records == d.dataset {
		return fault.New(fault.Invalid, "overlayzfs.snapshots.records=%s is the dataset of the layers; set it to the dataset of Docker's data-root (`findmnt -T /var/lib/docker`)", o.Records)
	}
	d.snapshots, err = snapshot.New(snapshot.Config{
		ZFS: d.zfs, Layers: d.dataset, Records: o.Records, Policy: o.Snapshots, AfterPrune: d.sweepLimits,
	})
	return err
}

// sweepLimits destroys datasets of removed layers that only a snapshot kept.
func (d *Driver) sweepLimits() {
	if err := d.limits.Sweep(context.Background()); err != nil {
		logrus.WithError(err).Warn("cannot destroy datasets of removed layers: left for the next start")
	}
}

// takeSnapshot takes the snapshot of an event and waits for it. The Scheduler logs a
// failure and shows it in Status, and the call goes on.
func (d *Driver) takeSnapshot(ctx context.Context, e snapshot.Event) {
	_ = d.snapshots.Take(ctx, e)
}

// poolCheckInterval is how long an answer of the pool is believed. Asking takes longer than
// most of the other work of a call.
const poolCheckInterval = 50 * time.Millisecond

// runLocked checks the layer's ID, takes the layer's lock and runs an operation. It adds the
// operation and the layer to the error. A caller that goes away stops waiting for locks.
func (d *Driver) runLocked(ctx context.Context, op, id string, run func(layer) error) error {
	_, err := runLockedFor(ctx, d, op, id, func(l layer) (struct{}, error) { return struct{}{}, run(l) })
	return err
}

// runLockedFor is runLocked for an operation with a result. With an error the result is the
// one that run returned, and zero when run was not called.
func runLockedFor[T any](ctx context.Context, d *Driver, op, id string, run func(layer) (T, error)) (result T, err error) {
	if err := checkID("layer", id); err != nil {
		return result, d.addContext(op, id, err)
	}
	d.calls.begin()
	defer d.calls.end()
	// A call that waits for a suspended pool must hold no lock, so the first check is here.
	began := time.Now()
	if err := d.checkHome(); err != nil {
		return result, d.addContext(op, id, err)
	}
	releaseStore, err := d.storeLock.RLock(ctx)
	if err != nil {
		return result, d.addContext(op, id, err)
	}
	defer releaseStore()
	releaseLayer, err := d.layers.Lock(ctx, id)
	if err != nil {
		return result, d.addContext(op, id, err)
	}
	defer releaseLayer()
	if time.Since(began) > poolCheckInterval { // things may have changed while the call waited
		err = d.checkHome()
	}
	if err == nil {
		result, err = run(d.home.layer(id))
	}
	return result, d.addContext(op, id, err)
}

// checkHome makes sure that the pool answers and that the home still shows the dataset. If
// it were unmounted behind our back, all layers would seem gone, and new ones would be made
// in the directory below.
func (d *Driver) checkHome() error {
	if time.Since(time.Unix(0, d.lastAnswer.Load())) > poolCheckInterval {
		if err := checkPool(d.dataset); err != nil {
			return err
		}
		d.lastAnswer.Store(time.Now().UnixNano())
	}
	var now unix.Stat_t
	if err := unix.Stat(string(d.home), &now); err != nil {
		return fmt.Errorf("stat %q: %w", d.home, err)
	}
	if now.Dev != d.root.Dev || now.Ino != d.root.Ino {
		return fault.New(fault.HomeGone, "the dataset is no longer mounted on %s", d.home)
	}
	return nil
}

// addContext adds the operation, the layer and the dataset to err.
func (d *Driver) addContext(op, id string, err error) error {
	return fault.AddContext(fault.Op{Name: op, Layer: id, Dataset: d.dataset}, err)
}

// pool is the pool that the store lies on.
func (d *Driver) pool() string { return zfs.PoolOf(d.dataset) }

// tarOptions returns how layer tars are read and written in this store.
func (d *Driver) tarOptions() layertar.Options { return layertar.Options{IDs: d.ids} }
