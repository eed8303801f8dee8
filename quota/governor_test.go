package quota

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// fakePool is a pool in which a layer is written to. The end of a group takes time, and used then
// contains the earlier writes.
type fakePool struct {
	mu       sync.Mutex
	now      counters
	own      uint64 // what the layer's files hold
	used     uint64 // as ZFS says
	limit    Limits
	limits   []uint64
	looks    int
	syncs    int
	syncTime time.Duration
	broken   error
}

func (f *fakePool) governor() *governor {
	return newGovernor(kernelOps{
		counters: func() (counters, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.looks++
			return f.now, f.broken
		},
		readUsed: func(uint32) (uint64, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.used, nil
		},
		setLimit: func(_ uint32, l Limits) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.limit, f.limits = l, append(f.limits, l.Bytes)
			return nil
		},
		endTxg: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(f.syncTime):
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.syncs++
			f.used = f.own
			return f.broken
		},
	})
}

// write is a call that writes to the layer, refused as the kernel does it.
func (f *fakePool) write(n uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limit.Bytes > 0 && f.used >= f.limit.Bytes {
		return false
	}
	f.now.written += n
	f.own += n
	return true
}

func (f *fakePool) neighbourWrites(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.written += n
}

func (f *fakePool) force() uint64 { return read(f, &f.limit.Bytes) }

// read is a number of the fake's that the governor may be changing.
func read[N any](f *fakePool, n *N) N {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *n
}

func (f *fakePool) runLocked(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func governedRecord(limit uint64) Record {
	return Record{Layer: "x", Mode: Project, Project: firstProject, Limits: Limits{Bytes: limit, Inodes: 99}}
}

// TestTheGovernorHoldsALayerToItsLimit has a writer that never gives up.
func TestTheGovernorHoldsALayerToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{syncTime: 100 * time.Millisecond, own: 1024}
		g := f.governor()
		defer g.close()
		const limit, rate, each = 500 * testMiB, 200 * testMiB, testMiB
		must(t, g.set("k", governedRecord(limit)))
		must(t, g.add("k", governedRecord(limit)))
		for range 2000 {
			f.write(each)
			time.Sleep(time.Second * each / rate)
		}
		over := int64(read(f, &f.own)) - limit
		t.Logf("%+.1f MiB at %d MiB/s, %d groups ended, %d looks", float64(over)/testMiB, rate/testMiB, read(f, &f.syncs), read(f, &f.looks))
		if over < 0 || over > 3*testMiB {
			t.Errorf("%d bytes over", over)
		}
		equal(t, "limit in force", f.force(), limit)
		equal(t, "limit on files", read(f, &f.limit.Inodes), 99)
	})
}

// TestTheGovernorSleeps makes sure that nothing runs without a limited layer, and that checks are
// rare while no layer is near its limit.
func TestTheGovernorSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{used: 1024, own: 1024}
		g := f.governor()
		defer g.close()
		looksIn := func(d time.Duration) int {
			before := read(f, &f.looks)
			time.Sleep(d)
			synctest.Wait()
			return read(f, &f.looks) - before
		}
		equal(t, "looks before any layer", looksIn(time.Hour), 0)
		must(t, g.add("none", governedRecord(0)))
		equal(t, "looks for a layer without limit", looksIn(time.Hour), 0)
		must(t, g.add("far", governedRecord(100<<30)))
		equal(t, "looks a minute, far", looksIn(time.Minute)/60, 1)
		must(t, g.add("near", governedRecord(2*testMiB)))
		if n := looksIn(time.Minute); n < 1100 || n > 1400 {
			t.Errorf("looks a minute, near and idle: %d", n)
		}
		equal(t, "groups ended for idle layers", read(f, &f.syncs), 0)
		must(t, errors.Join(g.remove("near"), g.remove("far"), g.remove("far")))
		looksIn(time.Minute)
		equal(t, "looks after the last", looksIn(time.Hour), 0)
		must(t, g.add("far", governedRecord(100<<30)))
		equal(t, "looks a minute, again", looksIn(time.Minute)/60, 1)
	})
}

// TestANewLayerIsWrittenOut is needed because the kernel refuses nothing before.
func TestANewLayerIsWrittenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{own: 1024}
		g := f.governor()
		defer g.close()
		must(t, g.add("k", governedRecord(testMiB)))
		equal(t, "groups ended", read(f, &f.syncs), 1)
		must(t, g.add("k", governedRecord(testMiB)))
		equal(t, "groups ended", read(f, &f.syncs), 1)
		f.runLocked(func() { f.broken, f.used = fault.PoolUnavailable, 0 })
		wantError(t, g.add("other", governedRecord(testMiB)), fault.PoolUnavailable)
	})
}

// TestAFalseRefusalEnds makes sure that a neighbour's writes freeze a layer only until a group has
// ended.
func TestAFalseRefusalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{syncTime: time.Second, used: 1024, own: 1024}
		g := f.governor()
		defer g.close()
		must(t, g.set("k", governedRecord(10*testMiB)))
		must(t, g.add("k", governedRecord(10*testMiB)))
		f.neighbourWrites(100 * testMiB)
		time.Sleep(100 * time.Millisecond)
		equal(t, "limit while it is not known", f.force(), frozenLimit)
		time.Sleep(time.Second)
		equal(t, "limit when it is", f.force(), 10*testMiB)
		equal(t, "groups ended", read(f, &f.syncs), 1)
	})
}

// TestGovernorSetOfAFrozenLayer makes sure that new limits take effect when the usage is known.
func TestGovernorSetOfAFrozenLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{syncTime: time.Second, used: 1024, own: 1024}
		g := f.governor()
		defer g.close()
		must(t, g.set("k", governedRecord(10*testMiB)))
		must(t, g.add("k", governedRecord(10*testMiB)))
		f.write(20 * testMiB)
		time.Sleep(100 * time.Millisecond)
		must(t, g.set("k", governedRecord(40*testMiB)))
		equal(t, "raised while frozen", f.force(), frozenLimit)
		time.Sleep(time.Second)
		equal(t, "raised", f.force(), 40*testMiB)
		f.write(200 * testMiB)
		time.Sleep(100 * time.Millisecond)
		equal(t, "frozen again", f.force(), frozenLimit)
		must(t, g.set("k", governedRecord(0)))
		equal(t, "no limit", f.force(), 0)
	})
}

// TestNobodyStaysFrozen detaches a frozen layer, and ends the governor of another.
func TestNobodyStaysFrozen(t *testing.T) {
	for name, end := range map[string]func(*governor){
		"detached": func(g *governor) { must(t, g.remove("k")) },
		"closed":   func(g *governor) { g.close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakePool{syncTime: time.Hour, used: 1024, own: 1024}
			g := f.governor()
			must(t, g.add("k", governedRecord(10*testMiB)))
			f.write(20 * testMiB)
			time.Sleep(100 * time.Millisecond)
			equal(t, name+": before", f.force(), frozenLimit)
			end(g)
			equal(t, name+": after", f.force(), 10*testMiB)
			g.close()
		})
	}
}

// TestAFullLayerIsWatchedForDeletions leaves the refusals to the kernel.
func TestAFullLayerIsWatchedForDeletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{used: 11 * testMiB, own: 11 * testMiB}
		g := f.governor()
		defer g.close()
		must(t, g.set("k", governedRecord(10*testMiB)))
		must(t, g.add("k", governedRecord(10*testMiB)))
		f.neighbourWrites(100 * testMiB)
		time.Sleep(10 * time.Second)
		equal(t, "groups ended for a full layer", read(f, &f.syncs), 0)
		equal(t, "refused", f.write(1), false)
		f.runLocked(func() { f.used, f.own = 2*testMiB, 2*testMiB })
		time.Sleep(time.Second)
		f.write(9 * testMiB)
		time.Sleep(time.Second)
		equal(t, "what it holds", read(f, &f.own), 11*testMiB)
		equal(t, "known to be full", f.write(1), false)
	})
}

// TestAPoolThatFailsIsAskedAgain makes sure that the governor retries after a pause.
func TestAPoolThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePool{used: 1024, own: 1024}
		g := f.governor()
		defer g.close()
		must(t, g.set("k", governedRecord(10*testMiB)))
		must(t, g.add("k", governedRecord(10*testMiB)))
		f.runLocked(func() { f.broken = fault.PoolUnavailable })
		before := read(f, &f.looks)
		time.Sleep(time.Minute)
		if n := read(f, &f.looks) - before; n > 70 {
			t.Errorf("%d looks", n)
		}
		f.runLocked(func() { f.broken = nil })
		f.write(20 * testMiB)
		time.Sleep(3 * time.Second)
		equal(t, "refused", f.write(1), false)
	})
}
