package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/zfs"
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
// takes the last seconds of it as a whole.
func (d *Driver) barrierForCreate(ctx context.Context, o CreateOptions) error {
	if !o.Recorded {
		return nil
	}
	log := d.readIntentLog()
	if o.ReadWrite && !log.used {
		return nil
	}
	return d.commitLogOrWaitTxg(ctx, log)
}

// maxLoggedTar is the longest layer tar whose content is logged. Above it, waiting for a
// transaction group is faster than the intent log.
const maxLoggedTar = 1 << 20

// barrierForContent makes the content of a layer durable. write(2) made the content, from
// a tar of that length, and its times are set.
func (d *Driver) barrierForContent(ctx context.Context, tar int64) error {
	if tar <= maxLoggedTar && d.isContentLogged() {
		return d.commitNames(ctx)
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
	if !d.isContentLogged() || !d.readIntentLog().trusted {
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
	return d.commitNames(ctx) // reads again whether the log is trusted
}

// barrierForRemove makes a removal durable. The caller forgets the layer now, so a power
// cut must not bring it back. A layer that the next start removes needs no barrier.
func (d *Driver) barrierForRemove(ctx context.Context, id string) error {
	if d.isStray(id) {
		return nil
	}
	return d.commitNames(ctx)
}

// CommitNames makes durable the records that a door wrote on this dataset, and the layers
// whose barrier CreateOptions leave to the door.
func (d *Driver) CommitNames(ctx context.Context) error {
	return d.addContext("wait for the disk", "", d.commitNames(ctx))
}

// WaitTxg waits for the transaction group, however long that takes. Only then is freed
// space usable again.
func (d *Driver) WaitTxg(ctx context.Context) error {
	return d.addContext("wait for the disk", "", d.waitTxg(ctx))
}

// waitTxg makes everything done so far durable, whatever the dataset's sync property is:
// it waits for the transaction group. Calls that end together share one wait.
func (d *Driver) waitTxg(ctx context.Context) error { return d.txgs.wait(ctx) }

// commitNames makes a change of a few names durable: by the intent log where that can be
// trusted, which is faster, else by the transaction group.
func (d *Driver) commitNames(ctx context.Context) error {
	return d.commitLogOrWaitTxg(ctx, d.readIntentLog())
}

func (d *Driver) commitLogOrWaitTxg(ctx context.Context, log intentLog) error {
	if log.trusted {
		return d.commitLog()
	}
	return d.waitTxg(ctx)
}

// intentLog says what the dataset's intent log is good for.
type intentLog struct {
	// used says that its replay may restore names after a power cut. With sync=disabled it
	// does not.
	used bool
	// trusted says that everything syncfs commits to it is on disk and will be replayed.
	trusted bool
}

// readIntentLog asks ZFS each time, because the administrator may change the answer at
// any time.
func (d *Driver) readIntentLog() intentLog {
	if d.zfs == nil {
		return intentLog{used: true, trusted: true} // no better barrier is possible
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return intentLog{used: true} // assume the worst
	}
	used := stats.SyncMode() != zfs.SyncDisabled
	return intentLog{used, used && !isParamSet("zil_replay_disable") && !isParamSet("zil_nocacheflush")}
}

// isParamSet reports whether a parameter of the zfs module is not 0. A parameter that the
// module does not have is not set.
func isParamSet(param string) bool {
	value, err := zfs.ModuleParam(param)
	return err == nil && value != "0"
}

// isContentLogged reports whether the intent log contains all parts of a layer, except
// times that were never set.
func (d *Driver) isContentLogged() bool { return d.hasXattrLog && isParamSet("zfs_zil_saxattr") }

// poolLogsXattrs reports whether the intent log may contain extended attributes, opaque
// directories among them. That takes a pool feature of OpenZFS 2.2. An older pool has it
// after `zpool upgrade`, and an enabled feature stays enabled.
func poolLogsXattrs(h *zfs.Handle, pool string) bool {
	if h == nil {
		return false
	}
	has, err := h.PoolFeature(pool, zfs.FeatureZILXattr)
	return err == nil && has
}

// syncPool waits until everything written is on disk. Without /dev/zfs it can only commit
// the intent log, which means nothing with sync=disabled.
func (d *Driver) syncPool(ctx context.Context) error {
	if d.zfs == nil {
		return d.commitLog()
	}
	return d.observeBarrier(TxgBarrier, func() error { return d.zfs.SyncPool(ctx, d.pool()) })
}

// commitLog hands data in mapped memory to ZFS and commits the intent log. With
// sync=disabled the commit does nothing.
func (d *Driver) commitLog() error {
	return d.observeBarrier(IntentLogBarrier, func() error { return fsat.SyncFileSystem(int(d.lock.Fd())) })
}

// txgWaiter lets all callers that ask at the same time share one wait. A caller that asks
// during a wait may have written after it began, so it shares the next one.
type txgWaiter struct {
	sync func(context.Context) error

	mu      sync.Mutex
	next    *txgWait // the wait that a caller joins; nil when no caller is queued
	running bool
}

type txgWait struct {
	done chan struct{}
	err  error
}

func (g *txgWaiter) wait(ctx context.Context) error {
	joined := g.join()
	select {
	case <-joined.done:
		return joined.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the transaction group: %w", context.Cause(ctx))
	}
}

func (g *txgWaiter) join() *txgWait {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = &txgWait{done: make(chan struct{})}
	}
	if !g.running {
		g.running = true
		go g.run()
	}
	return g.next
}

// run makes one wait after another while callers ask. It takes no caller's context,
// because several callers wait for it.
func (g *txgWaiter) run() {
	for current := g.takeNext(); current != nil; current = g.takeNext() {
		current.err = g.sync(context.Background())
		close(current.done)
	}
}

func (g *txgWaiter) takeNext() *txgWait {
	g.mu.Lock()
	defer g.mu.Unlock()
	current := g.next
	g.next = nil
	g.running = current != nil
	return current
}

// maxLoggedTimes is the largest number of files whose times are logged. Above it, waiting
// for a transaction group is faster.
const maxLoggedTimes = 200

var errTooManyFiles = fmt.Errorf("it has more than %d files", maxLoggedTimes)

// rewriteTimes sets the times of a directory and of everything in it to their present
// values, which logs them. It returns errTooManyFiles above maxLoggedTimes. Only change
// times differ afterwards.
func rewriteTimes(ctx context.Context, dir string) (err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root := int(f.Fd())
	if err := fsat.Walk(ctx, root, false, &timeRewriter{left: maxLoggedTimes}); err != nil {
		return err
	}
	return fsat.KeepTime(root, ".")
}

type timeRewriter struct{ left int }

func (k *timeRewriter) rewrite(parent int, name string) error {
	if k.left--; k.left < 0 {
		return errTooManyFiles
	}
	return fsat.KeepTime(parent, name)
}

// Enter does nothing: Leave rewrites a directory's time after its entries'.
func (k *timeRewriter) Enter(int, fsat.Path, int) error { return nil }

func (k *timeRewriter) File(parent int, path fsat.Path, _ uint8) error {
	return k.rewrite(parent, path.Name)
}

func (k *timeRewriter) Leave(parent int, path fsat.Path) error { return k.rewrite(parent, path.Name) }
