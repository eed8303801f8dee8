package overlayzfs

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// recorded makes all that was done so far durable, whatever the dataset's sync
// property says: it waits for the transaction group. Calls that end together
// share one wait.
func (d *Driver) recorded(ctx context.Context) error { return d.groups.flush(ctx) }

// noted makes a change of a few names durable. Where the intent log may be
// trusted with it, that is the faster way.
func (d *Driver) noted(ctx context.Context) error { return d.note(ctx, d.intentLog()) }

func (d *Driver) note(ctx context.Context, log intentLog) error {
	if log.trusted {
		return d.syncFiles()
	}
	return d.recorded(ctx)
}

// little is how much of a layer's tar the intent log takes faster than a
// transaction group ends.
const little = 1 << 20

// filled makes the content of a layer durable that was unpacked from a tar that
// long: written by write(2), with its times set.
func (d *Driver) filled(ctx context.Context, tar int64) error {
	if tar <= little && d.logsAll() {
		return d.noted(ctx)
	}
	return d.recorded(ctx)
}

// logsAll reports whether the intent log, if it may be trusted, has all that a
// layer is made of, but for times that nobody set.
func (d *Driver) logsAll() bool { return d.logsXattrs && isSet("zfs_zil_saxattr") }

// made makes a new layer durable, if its caller records it now. With
// sync=disabled a container's layer is like all that the container writes: a
// power cut takes the last seconds of it as a whole.
func (d *Driver) made(ctx context.Context, o CreateOptions) error {
	if !o.Recorded {
		return nil
	}
	log := d.intentLog()
	if o.ReadWrite && !log.used {
		return nil
	}
	return d.note(ctx, log)
}

// intentLog is what the dataset's intent log is good for. The administrator may
// change that at any time, so it is asked each time.
type intentLog struct {
	// used: it may bring back names after a power cut. sync=disabled says no.
	used bool
	// trusted: what syncfs commits to it is on disk, and will be replayed.
	trusted bool
}

func (d *Driver) intentLog() intentLog {
	if d.zfs == nil {
		return intentLog{used: true, trusted: true} // nothing better to be had
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return intentLog{used: true} // for all that is known
	}
	used := stats.SyncMode() != zfs.SyncDisabled
	return intentLog{used, used && !isSet("zil_replay_disable") && !isSet("zil_nocacheflush")}
}

// isSet reports whether a parameter of the module is not 0; one that the module
// does not have is not set.
func isSet(param string) bool {
	value, err := zfs.ModuleParam(param)
	return err == nil && value != "0"
}

// stepDone makes a build step durable. Its programs may have written through
// mapped memory, which ZFS has not seen before syncfs; a volatile mount does not
// do that when it ends. The intent log, which syncfs commits too, is not enough:
// what is replayed from it has the times of the replay, unless somebody set them.
func (d *Driver) stepDone(ctx context.Context) error {
	if err := d.syncFiles(); err != nil {
		return err
	}
	return d.recorded(ctx)
}

// quietStepDone is stepDone of a layer that nobody writes to any more. If that is
// a few files, their times are set to what they are, so that the intent log has
// them too, and all of it.
func (d *Driver) quietStepDone(ctx context.Context, l layer) error {
	if !d.logsAll() || !d.intentLog().trusted {
		return d.stepDone(ctx)
	}
	// What was written through mapped memory comes into the log before its time.
	if err := d.syncFiles(); err != nil {
		return err
	}
	if err := keepTimes(ctx, l.diff()); err != nil {
		logrus.WithField("layer", l.id).Debugf("waits for the transaction group: %v", err)
		return d.recorded(ctx)
	}
	return d.noted(ctx) // asks again whether the log is good for it
}

// logsXattrs reports whether extended attributes, opaque directories among them,
// may come into the intent log. That takes a pool feature of OpenZFS 2.2, which
// an older pool has after `zpool upgrade`; once enabled it stays.
func logsXattrs(h *zfs.Handle, pool string) bool {
	if h == nil {
		return false
	}
	has, err := h.PoolFeature(pool, zfs.FeatureZILXattr)
	return err == nil && has
}

// syncGroup waits until what was written is on disk. Without /dev/zfs there is
// only the intent log, which sync=disabled makes worthless.
func (d *Driver) syncGroup(ctx context.Context) error {
	if d.zfs == nil {
		return d.syncFiles()
	}
	return d.waits(TxgBarrier, func() error { return d.zfs.SyncPool(ctx, d.pool()) })
}

// syncFiles commits the intent log, where sync=disabled does not make that mean
// nothing, and hands what was written through mapped memory to ZFS.
func (d *Driver) syncFiles() error {
	return d.waits(IntentLogBarrier, func() error { return syncFileSystem(d.lock) })
}

// groups makes one wait do for all who ask at the same time: whoever asks while
// one is under way may have written after it began, and shares the next.
type groups struct {
	sync func(context.Context) error

	mu      sync.Mutex
	next    *group // whom to join; nil when nobody waits to begin
	running bool
}

type group struct {
	done chan struct{}
	err  error
}

func (g *groups) flush(ctx context.Context) error {
	joined := g.join()
	select {
	case <-joined.done:
		return joined.err
	case <-ctx.Done():
		return fmt.Errorf("wait until it is on disk: %w", context.Cause(ctx))
	}
}

func (g *groups) join() *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = &group{done: make(chan struct{})}
	}
	if !g.running {
		g.running = true
		go g.run()
	}
	return g.next
}

// run makes one wait after another while somebody asks. It has no caller's
// context: others wait for it too.
func (g *groups) run() {
	for current := g.begin(); current != nil; current = g.begin() {
		current.err = g.sync(context.Background())
		close(current.done)
	}
}

func (g *groups) begin() *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	current := g.next
	g.next = nil
	g.running = current != nil
	return current
}
