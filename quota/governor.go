package quota

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// kernelOps is the governor's access to the kernel.
type kernelOps struct {
	counters func() (counters, error)
	readUsed func(id uint32) (uint64, error)
	setLimit func(id uint32, l Limits) error
	endTxg   func(ctx context.Context) error // ends the open transaction group
}

// frozenLimit is the limit of a layer that must not write. It is less than the layer's two
// directories take.
const frozenLimit = 1

// governor keeps layers in use from writing far beyond their project quota. The kernel
// compares that quota with the last transaction group's usage. The package comment says how
// the governor works, and how well.
type governor struct {
	kernelOps
	ctx  context.Context
	quit context.CancelFunc
	jobs sync.WaitGroup

	mu      sync.Mutex
	layers  map[string]*governedLayer // the layers in use
	running bool
	wake    chan struct{}

	syncing        bool
	nextSync       time.Time // no group is ended before
	last           counters
	lastChange     time.Time // when the counters last changed
	lastFailureLog time.Time // when a failure was last logged
}

// governedLayer is a layer in use.
type governedLayer struct {
	account
	Record
	frozen    bool
	lastCheck time.Time // when the usage of the full layer was last read
}

func newGovernor(g kernelOps) *governor {
	ctx, quit := context.WithCancel(context.Background())
	return &governor{kernelOps: g, ctx: ctx, quit: quit, layers: map[string]*governedLayer{}, wake: make(chan struct{}, 1)}
}

// add begins to watch a layer.
func (g *governor) add(key string, r Record) error {
	used, err := g.readUsedOnDisk(r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.layers[key] != nil {
		return nil
	}
	now, err := g.counters()
	if err != nil {
		return err
	}
	// All data in memory may be the layer's.
	g.layers[key] = &governedLayer{Record: r, account: account{limit: r.Bytes, used: used, base: counters{written: now.written}}}
	g.wakeLoop()
	return nil
}

// readUsedOnDisk returns what a layer holds. It has a new layer's directories written out
// first. While nothing is on disk, the kernel refuses nothing, whatever the limit is.
func (g *governor) readUsedOnDisk(r Record) (uint64, error) {
	used, err := g.readUsed(r.Project)
	if err != nil || used > 0 || r.Bytes == 0 {
		return used, err
	}
	if err := g.endTxg(g.ctx); err != nil {
		return 0, err
	}
	return g.readUsed(r.Project)
}

// remove ends the watch of a layer.
func (g *governor) remove(key string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.layers[key]
	delete(g.layers, key)
	if l != nil && l.frozen {
		return g.setLimit(l.Project, l.Limits)
	}
	return nil
}

// forget ends the watch of a layer whose limit is about to be deleted.
func (g *governor) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.layers, key)
}

// set puts a layer's limits in force. A frozen layer gets them when its usage is known.
func (g *governor) set(key string, r Record) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.layers[key]
	inForce := r.Limits
	if l != nil && l.frozen && r.Bytes > 0 {
		inForce.Bytes = frozenLimit
	}
	if err := g.setLimit(r.Project, inForce); err != nil || l == nil {
		return err
	}
	l.Record, l.limit, l.frozen = r, r.Bytes, inForce != r.Limits
	g.wakeLoop()
	return nil
}

// wakeLoop has the counters checked now.
func (g *governor) wakeLoop() {
	if g.ctx.Err() != nil || !g.hasLimits() {
		return
	}
	if !g.running {
		g.running = true
		g.jobs.Go(g.run)
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// hasLimits reports whether any layer in use has a limit.
func (g *governor) hasLimits() bool {
	for _, l := range g.layers {
		if l.limit > 0 {
			return true
		}
	}
	return false
}

// run checks the counters until no layer with a limit is in use.
func (g *governor) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-timer.C:
		case <-g.wake:
		}
		wait, ok := g.checkAll()
		if !ok {
			return
		}
		timer.Reset(wait)
	}
}

// checkAll judges all layers and returns when to call it again. ok is false when it need not
// be called again.
func (g *governor) checkAll() (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hasLimits() {
		g.running = false
		return 0, false
	}
	now, err := g.counters()
	if err != nil {
		g.logFailure(err)
		return failurePause, true
	}
	if now != g.last {
		g.last, g.lastChange = now, time.Now()
	}
	wait = maxPause
	unknown := false
	for _, l := range g.layers {
		if l.limit == 0 {
			continue
		}
		unknown = g.judgeLayer(l, now) || unknown
		wait = min(wait, g.pause(l, now))
	}
	if unknown {
		wait = min(wait, g.requestTxg(now))
	}
	return wait, true
}

// judgeLayer acts on a layer's verdict and reports whether a transaction group has to end for
// it.
func (g *governor) judgeLayer(l *governedLayer, now counters) (unknown bool) {
	if l.frozen {
		return true
	}
	switch l.judge(now) {
	case verdictFreeze:
		g.logFailure(g.freezeLayer(l))
		return true
	case verdictSync:
		return true
	case verdictFull:
		g.logFailure(g.refreshFull(l, now))
	case verdictContinue:
	}
	return false
}

// freezeLayer has the kernel refuse the layer's writes.
func (g *governor) freezeLayer(l *governedLayer) error {
	err := g.setLimit(l.Project, Limits{Bytes: frozenLimit, Inodes: l.Inodes})
	l.frozen = err == nil
	return err
}

// refreshFull reads the usage of a full layer again, because files may have been deleted.
func (g *governor) refreshFull(l *governedLayer, now counters) error {
	if time.Since(l.lastCheck) < fullPause {
		return nil
	}
	used, err := g.readUsed(l.Project)
	if err != nil {
		return err
	}
	l.used, l.lastCheck = used, time.Now()
	l.base = counters{written: now.written}
	return nil
}

func (g *governor) pause(l *governedLayer, now counters) time.Duration {
	switch {
	case l.frozen:
		return maxPause // the end of the group wakes the loop
	case l.judge(now) == verdictFull:
		return fullPause
	}
	return pause(l.slack(now), time.Since(g.lastChange) > idleAfter)
}

// requestTxg has a transaction group end, and returns when to check again if that has to wait.
func (g *governor) requestTxg(now counters) time.Duration {
	if g.syncing {
		return maxPause // its end wakes the loop
	}
	if wait := time.Until(g.nextSync); wait > 0 {
		return wait
	}
	g.syncing = true
	before := map[string]bool{} // the layers in the group, and whether they were frozen from its beginning
	for key, l := range g.layers {
		before[key] = l.frozen
	}
	g.jobs.Go(func() { g.finishTxg(now, before) })
	return maxPause
}

// finishTxg ends a transaction group and updates the layers by its usage.
func (g *governor) finishTxg(start counters, before map[string]bool) {
	begun := time.Now()
	err := g.endTxg(g.ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.syncing = false
	// At most half of the time goes to ending groups early, because that makes groups smaller
	// for every user of the pool.
	g.nextSync = time.Now().Add(min(time.Since(begun), maxPause))
	if err != nil {
		g.nextSync = time.Now().Add(failurePause)
		if g.ctx.Err() == nil {
			g.logFailure(err)
		}
		return
	}
	end, err := g.counters()
	g.logFailure(err)
	for key, wasFrozen := range before {
		if l := g.layers[key]; l != nil && err == nil {
			g.logFailure(g.updateLayer(l, start, end, wasFrozen))
		}
	}
	g.wakeLoop()
}

// updateLayer reads what a layer holds. A layer that was frozen before the group began to
// end has written nothing since.
func (g *governor) updateLayer(l *governedLayer, start, end counters, wasFrozen bool) error {
	used, err := g.readUsed(l.Project)
	if err != nil {
		return err
	}
	l.used, l.base = used, counters{written: start.written}
	if wasFrozen && l.frozen {
		l.base = end
	}
	if !l.frozen || l.limit > 0 && l.judge(end) == verdictFreeze {
		return nil
	}
	if err := g.setLimit(l.Project, l.Limits); err != nil {
		return err
	}
	l.frozen = false
	return nil
}

// failureLogInterval is the shortest time between two log lines about failures.
const failureLogInterval = time.Minute

// logFailure logs a failure. The next check repeats what failed.
func (g *governor) logFailure(err error) {
	if err != nil && time.Since(g.lastFailureLog) > failureLogInterval {
		g.lastFailureLog = time.Now()
		logrus.WithError(err).Warn("cannot watch project quotas: a container may exceed its limit by what it writes in some seconds")
	}
}

// close ends the watch and gives frozen layers their limit back. Their containers go on, and
// the kernel enforces the limit as well as it can.
func (g *governor) close() {
	g.quit()
	g.jobs.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, l := range g.layers {
		if l.frozen {
			errs = append(errs, g.setLimit(l.Project, l.Limits))
		}
	}
	clear(g.layers)
	g.logFailure(errors.Join(errs...))
}
