package overlayzfs

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/quota"
)

// Observer counts what happens to a store. Many goroutines call it at once, and the store
// waits for it.
type Observer interface {
	// ObserveOpen is called with a store that was opened. It may be asked for its Stats.
	ObserveOpen(*Driver)
	// ObserveClose is called with a store that is being closed.
	ObserveClose(*Driver)
	// ObserveBarrier is called after each wait for the disk.
	ObserveBarrier(b Barrier, took time.Duration, err error)
}

// Barrier is the kind of a wait for the disk.
type Barrier string

// The barriers.
const (
	TxgBarrier       Barrier = "txg" // until the transaction group is on disk
	IntentLogBarrier Barrier = "zil" // until the intent log is on disk
)

// noObserver is the Observer of a store without one.
type noObserver struct{}

func (noObserver) ObserveOpen(*Driver) {}

func (noObserver) ObserveClose(*Driver) {}

func (noObserver) ObserveBarrier(Barrier, time.Duration, error) {}

// observeBarrier tells the observer how long wait took.
func (d *Driver) observeBarrier(b Barrier, wait func() error) error {
	began := time.Now()
	err := wait()
	d.observer.ObserveBarrier(b, time.Since(began), err)
	return err
}

// barrierForCreate makes a new layer durable, if its caller records it now. With
// sync=disabled a container's layer is like all that the container writes: a power cut
// takes the last seconds of it as a whole. A door with records has build steps among its
// containers' layers, and waits for all.
func (d *Driver) barrierForCreate(ctx context.Context, l layer, parent string, o CreateOptions, limit quota.Spec) error {
	if !o.Recorded {
		return nil
	}
	log := d.readIntentLog()
	if o.ReadWrite && !log.used && !d.externalMounts {
		return nil
	}
	if !log.trusted {
		return d.waitTxg(ctx)
	}
	if o.ReadWrite && d.durableWithChild.has(parent) {
		// As in barrierForIdleStep: a replay would change the times of what was written.
		if err := rewriteTimes(ctx, d.home.layer(parent).diff()); err != nil {
			logrus.WithField("layer", l.id).Debugf("the container waits for the transaction group: %v", err)
			return d.waitTxg(ctx)
		}
	}
	if d.hasProject(limit) {
		return d.commitLog() // the project's ID was set on directories
	}
	var files syncSet
	defer files.close()
	err := d.addCreated(ctx, &files, l, parent, o)
	if errors.Is(err, errNotSyncable) {
		return d.commitLog()
	}
	if err != nil {
		return err
	}
	return d.commitNames(ctx, log, files)
}

// addCreated adds what a new layer consists of besides names. makeDir has committed owners
// and modes that it had to set. The parent of a container's layer may be one that is recorded
// together with it, with content that no call has synced.
func (d *Driver) addCreated(ctx context.Context, files *syncSet, l layer, parent string, o CreateOptions) error {
	if err := files.addLayer(l); err != nil || parent == "" || !o.ReadWrite {
		return err
	}
	p := d.home.layer(parent)
	if err := files.addLayer(p); err != nil || !d.mayLackContent(parent) {
		return err
	}
	return files.addTree(ctx, p.diff())
}

// mayLackContent reports whether a power cut may take the content of a container's parent. An
// earlier process may have made the parent. With a door with records, CommitLayer has made it
// durable.
func (d *Driver) mayLackContent(parent string) bool {
	return d.durableWithChild.has(parent) || !d.externalMounts && !d.durableLayers.has(parent)
}

// maxLoggedTar is the longest layer tar whose content is logged. Above it, waiting for a
// transaction group is faster than the intent log.
const maxLoggedTar = 1 << 20

// barrierForContent makes the content of a layer durable. write(2) made the content, from
// the tar, and its times are set.
func (d *Driver) barrierForContent(ctx context.Context, log intentLog, tar *tarContent) error {
	if tar.n <= maxLoggedTar && !tar.unlogged && log.trusted && d.isContentLogged() {
		return d.commitLog()
	}
	return d.waitTxg(ctx)
}

// barrierForStep makes a build step durable. Programs may have written through mapped
// memory: ZFS sees that only at syncfs, and the end of a volatile mount does not call it.
// The intent log, which syncfs commits too, is not enough. Files replayed from it have the
// times of the replay, unless their times were set.
func (d *Driver) barrierForStep(ctx context.Context) error {
	if err := d.commitLog(); err != nil {
		return err
	}
	return d.waitTxg(ctx)
}

// barrierForIdleStep is barrierForStep for a layer that no process writes to any more. Of
// a few files it sets the times to their values, so that the intent log has all of them.
func (d *Driver) barrierForIdleStep(ctx context.Context, l layer) error {
	if !d.readIntentLog().trusted || !d.isContentLogged() {
		return d.barrierForStep(ctx)
	}
	// Data in mapped memory has to be in the log before the times are.
	if err := d.commitLog(); err != nil {
		return err
	}
	if err := rewriteTimes(ctx, l.diff()); err != nil {
		logrus.WithField("layer", l.id).Debugf("the build step waits for the transaction group: %v", err)
		return d.waitTxg(ctx)
	}
	return d.commitLog()
}

// barrierForRemove makes a removal durable. The caller forgets the layer now, so a power
// cut must not bring it back. A layer that the next start removes needs no barrier. Nor
// does one of a door with records: the door waits for its record's removal, and its next
// start removes layers without a record.
func (d *Driver) barrierForRemove(ctx context.Context, id string) error {
	if d.externalMounts || d.isStray(id) {
		return nil
	}
	return d.commitNames(ctx, d.readIntentLog(), syncSet{})
}

// CommitRecords makes durable the records that a door wrote on this dataset and fsynced. It
// waits only where an fsync means nothing.
func (d *Driver) CommitRecords(ctx context.Context) error {
	if d.readIntentLog().trusted {
		return nil
	}
	return d.addContext("wait for the disk", "", d.waitTxg(ctx))
}
