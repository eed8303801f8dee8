package quota

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// governed is what a governor works with.
type governed struct {
	counters func() (counters, error)
	used     func(id uint32) (uint64, error)
	limit    func(id uint32, l Limits) error
	sync     func(ctx context.Context) error // ends the open transaction group
}

// stopped is the limit of a layer that is to write nothing: less than its two
// directories take.
const stopped = 1

// governor keeps layers in use from writing far beyond their project quota,
// which the kernel compares with what the last transaction group wrote. The
// package's comment says how, and how well.
type governor struct {
	governed
	ctx  context.Context
	quit context.CancelFunc
	jobs sync.WaitGroup

	mu      sync.Mutex
	layers  map[string]*charge // those in use
	running bool
	wake    chan struct{}

	syncing  bool
	syncNext time.Time // not before
	last     counters
	moved    time.Time // when the counters last did
	failed   time.Time // when that was last said
}

// charge is a layer in use.
type charge struct {
	account
	Record
	stopped bool
	checked time.Time // when used was last read of a full layer
}

func newGovernor(g governed) *governor {
	ctx, quit := context.WithCancel(context.Background())
	return &governor{governed: g, ctx: ctx, quit: quit, layers: map[string]*charge{}, wake: make(chan struct{}, 1)}
}

// add begins to watch over a layer.
func (g *governor) add(key string, r Record) error {
	used, err := g.written(r)
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
	// All that memory holds may be the layer's.
	g.layers[key] = &charge{Record: r, account: account{limit: r.Bytes, used: used, base: counters{written: now.written}}}
	g.start()
	return nil
}

// written is what a layer holds. A new one has its directories written out
// first: while nothing is, the kernel refuses nothing, whatever the limit.
func (g *governor) written(r Record) (uint64, error) {
	used, err := g.used(r.Project)
	if err != nil || used > 0 || r.Bytes == 0 {
		return used, err
	}
	if err := g.sync(g.ctx); err != nil {
		return 0, err
	}
	return g.used(r.Project)
}

// remove ends the watch over a layer.
func (g *governor) remove(key string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.layers[key]
	delete(g.layers, key)
	if c != nil && c.stopped {
		return g.limit(c.Project, c.Limits)
	}
	return nil
}

// forget is remove for a layer whose limit goes anyway.
func (g *governor) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.layers, key)
}

// set puts a layer's limits in force. One that is stopped gets them when it is
// known how much it holds.
func (g *governor) set(key string, r Record) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.layers[key]
	inForce := r.Limits
	if c != nil && c.stopped && r.Bytes > 0 {
		inForce.Bytes = stopped
	}
	if err := g.limit(r.Project, inForce); err != nil || c == nil {
		return err
	}
	c.Record, c.limit, c.stopped = r, r.Bytes, inForce != r.Limits
	g.start()
	return nil
}

// start has the counters looked at, now.
func (g *governor) start() {
	if g.ctx.Err() != nil || !g.limited() {
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

// limited reports whether any layer in use has a limit.
func (g *governor) limited() bool {
	for _, c := range g.layers {
		if c.limit > 0 {
			return true
		}
	}
	return false
}

// run looks at the counters until no layer with a limit is in use.
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
		wait, ok := g.look()
		if !ok {
			return
		}
		timer.Reset(wait)
	}
}

// look judges all layers and says when it wants to be called again; not ok: not
// at all.
func (g *governor) look() (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.limited() {
		g.running = false
		return 0, false
	}
	now, err := g.counters()
	if err != nil {
		g.complain(err)
		return pauseFailed, true
	}
	if now != g.last {
		g.last, g.moved = now, time.Now()
	}
	wait = pauseMost
	unknown := false
	for _, c := range g.layers {
		if c.limit == 0 {
			continue
		}
		unknown = g.treat(c, now) || unknown
		wait = min(wait, g.pause(c, now))
	}
	if unknown {
		wait = min(wait, g.sooner(now))
	}
	return wait, true
}

// treat does what a layer needs and reports whether a transaction group has to
// end for it.
func (g *governor) treat(c *charge, now counters) (unknown bool) {
	if c.stopped {
		return true
	}
	switch c.judge(now) {
	case stop:
		g.complain(g.stopLayer(c))
		return true
	case know:
		return true
	case full:
		g.complain(g.check(c, now))
	case carryOn:
	}
	return false
}

// stopLayer has the kernel refuse what the layer wants to write.
func (g *governor) stopLayer(c *charge) error {
	err := g.limit(c.Project, Limits{Bytes: stopped, Inodes: c.Inodes})
	c.stopped = err == nil
	return err
}

// check reads the usage of a full layer again: something may have been deleted.
func (g *governor) check(c *charge, now counters) error {
	if time.Since(c.checked) < pauseFull {
		return nil
	}
	used, err := g.used(c.Project)
	if err != nil {
		return err
	}
	c.used, c.checked = used, time.Now()
	c.base = counters{written: now.written}
	return nil
}

func (g *governor) pause(c *charge, now counters) time.Duration {
	switch {
	case c.stopped:
		return pauseMost // the end of the group wakes us
	case c.judge(now) == full:
		return pauseFull
	}
	return pause(c.slack(now), time.Since(g.moved) > idleAfter)
}

// sooner has a transaction group end, and says when to look again if that has
// to wait.
func (g *governor) sooner(now counters) time.Duration {
	if g.syncing {
		return pauseMost // its end wakes us
	}
	if wait := time.Until(g.syncNext); wait > 0 {
		return wait
	}
	g.syncing = true
	before := map[string]bool{} // the layers that are in it, and whether they were stopped all the while
	for key, c := range g.layers {
		before[key] = c.stopped
	}
	g.jobs.Go(func() { g.settle(now, before) })
	return pauseMost
}

// settle ends a transaction group and takes account of what it wrote.
func (g *governor) settle(start counters, before map[string]bool) {
	begun := time.Now()
	err := g.sync(g.ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.syncing = false
	// No more than half of the time goes to ending groups early: that makes
	// them smaller than they would be, for everyone on the pool.
	g.syncNext = time.Now().Add(min(time.Since(begun), pauseMost))
	if err != nil {
		g.syncNext = time.Now().Add(pauseFailed)
		if g.ctx.Err() == nil {
			g.complain(err)
		}
		return
	}
	end, err := g.counters()
	g.complain(err)
	for key, wasStopped := range before {
		if c := g.layers[key]; c != nil && err == nil {
			g.complain(g.settleLayer(c, start, end, wasStopped))
		}
	}
	g.start()
}

// settleLayer reads what a layer holds. Of one that was stopped before the
// group began to end, nothing can have been written since.
func (g *governor) settleLayer(c *charge, start, end counters, wasStopped bool) error {
	used, err := g.used(c.Project)
	if err != nil {
		return err
	}
	c.used, c.base = used, counters{written: start.written}
	if wasStopped && c.stopped {
		c.base = end
	}
	if !c.stopped || c.limit > 0 && c.judge(end) == stop {
		return nil
	}
	if err := g.limit(c.Project, c.Limits); err != nil {
		return err
	}
	c.stopped = false
	return nil
}

// complainEach bounds how often the same trouble is logged.
const complainEach = time.Minute

// complain logs a failure. What failed is tried again with the next look.
func (g *governor) complain(err error) {
	if err != nil && time.Since(g.failed) > complainEach {
		g.failed = time.Now()
		logrus.WithError(err).Warn("limits by project quota cannot be watched over: a container may exceed its own by what it writes in some seconds")
	}
}

// close ends the watch. What is stopped gets its limit back: the containers go
// on, and the kernel holds them to it as well as it can.
func (g *governor) close() {
	g.quit()
	g.jobs.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, c := range g.layers {
		if c.stopped {
			errs = append(errs, g.limit(c.Project, c.Limits))
		}
	}
	clear(g.layers)
	g.complain(errors.Join(errs...))
}
