package overlayzfs

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"
)

// WaitTxg waits for the transaction group and the two after it, however long that takes.
// Only then is freed space usable again.
func (d *Driver) WaitTxg(ctx context.Context) error {
	return d.addContext("wait for the disk", "", d.freed.wait(ctx))
}

// waitTxg makes everything done so far durable, whatever the dataset's sync property is:
// it waits for the transaction group. Calls that end together share one wait.
func (d *Driver) waitTxg(ctx context.Context) error { return d.txgs.wait(ctx) }

// syncTxg waits until everything written is on disk.
func (d *Driver) syncTxg(ctx context.Context) error {
	if d.zfs == nil || !d.hasWaitTxg {
		return d.syncPool(ctx)
	}
	err := d.observeBarrier(TxgBarrier, func() error { return d.zfs.WaitTxg(ctx, d.dataset) })
	if err == nil {
		return nil
	}
	// A full pool refuses that request and not the other one.
	logrus.WithError(err).Debug("waiting for three transaction groups instead of one")
	return d.syncPool(ctx)
}

// syncPool is syncTxg that waits for two more transaction groups. Without /dev/zfs it can
// only commit the intent log, which means nothing with sync=disabled.
func (d *Driver) syncPool(ctx context.Context) error {
	if d.zfs == nil {
		return d.commitLog()
	}
	return d.observeBarrier(TxgBarrier, func() error { return d.zfs.SyncPool(ctx, d.pool()) })
}

// probeWaitTxg finds out whether a wait for one transaction group is possible. Otherwise
// barriers wait for three.
func (d *Driver) probeWaitTxg(ctx context.Context) {
	if d.zfs == nil {
		return
	}
	has, err := d.zfs.HasWaitTxg(ctx, d.dataset)
	if d.hasWaitTxg = has && err == nil; !d.hasWaitTxg {
		logrus.WithError(err).Info("this OpenZFS cannot wait for one transaction group: barriers wait for three, which takes longer while others write")
	}
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
