package quota

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// fakeFiles is a layer's dataset for an inodeWatch.
type fakeFiles struct {
	mu             sync.Mutex
	files, deleted uint64
	frozen         bool
	freezes, thaws int
	counts, ends   int
	created        uint64 // objects of other datasets
	fail           error
}

func (f *fakeFiles) watch() *inodeWatch {
	return &inodeWatch{
		count: func(Layer) (n uint64, err error) {
			f.runLocked(func() { f.counts, n, err = f.counts+1, f.files, f.fail })
			return n, err
		},
		created: func() (n uint64, err error) {
			f.runLocked(func() { n = f.created + f.files })
			return n, nil
		},
		endTxg: func(Layer, Record) error { f.runLocked(func() { f.ends++ }); return nil },
		objsetReader: func(string) func() zfs.Objset {
			return func() (o zfs.Objset) { f.runLocked(func() { o.Unlinked = f.deleted }); return o }
		},
		freeze: func(Layer, Record, uint64) error {
			f.runLocked(func() { f.freezes, f.frozen = f.freezes+1, true })
			return nil
		},
		thaw:   func(Layer, Record) error { f.runLocked(func() { f.thaws, f.frozen = f.thaws+1, false }); return nil },
		layers: map[string]*watchedLayer{},
	}
}

// runLocked runs fn while nobody else looks at the fake.
func (f *fakeFiles) runLocked(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fakeFiles) wantFrozen(t *testing.T, what string, want bool) {
	t.Helper()
	time.Sleep(4 * maxCheckInterval)
	f.runLocked(func() { equal(t, what, f.frozen, want) })
}

func (f *fakeFiles) wantCounts(t *testing.T, what string, want int) {
	t.Helper()
	f.runLocked(func() { equal(t, what, f.counts, want) })
}

func fileRecord(n uint64) Record { return Record{Layer: "x", Mode: Dataset, Limits: Limits{Inodes: n}} }

func TestTheWatchFreezesAndThaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{files: 50}
		w := f.watch()
		defer w.close()
		layer := Layer{Key: "k"}
		step := func(what string, frozen bool, freezes, thaws int) {
			t.Helper()
			time.Sleep(2 * maxCheckInterval)
			f.runLocked(func() {
				if f.frozen != frozen || f.freezes != freezes || f.thaws != thaws {
					t.Errorf("%s: frozen %v, %d freezes, %d thaws", what, f.frozen, f.freezes, f.thaws)
				}
			})
		}
		w.add(layer, fileRecord(100))
		step("below", false, 0, 0)
		f.runLocked(func() { f.files = 100 })
		step("at the limit", true, 1, 0)
		step("still", true, 1, 0)
		f.runLocked(func() { f.files = 130 })
		step("more came before it worked", true, 2, 0)
		f.runLocked(func() { f.deleted = 20 })
		step("some deleted, not enough", true, 2, 0)
		f.runLocked(func() { f.deleted = 31 })
		step("deleted, and not gone from the dataset yet", false, 2, 1)
		f.runLocked(func() { f.deleted = 0 })
		step("over again", true, 3, 1)
		w.remove("k")
		step("detached", false, 3, 2)
	})
}

func TestTheWatchSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{}
		w := f.watch()
		layer := Layer{Key: "k"}
		w.add(layer, fileRecord(0)) // has no limit on files
		time.Sleep(time.Hour)
		f.wantCounts(t, "counts without a layer", 0)
		w.add(layer, fileRecord(100))
		w.add(layer, fileRecord(100))
		time.Sleep(time.Minute + maxCheckInterval/2)
		f.wantCounts(t, "counts in a minute, each after 13 short ticks", 233)
		must(t, w.set(layer, fileRecord(0), func(Layer, Record) error { return nil }))
		time.Sleep(time.Hour)
		f.wantCounts(t, "counts after its limit went", 233)
		w.add(layer, fileRecord(100))
		w.forget("k")
		w.forget("k")
		time.Sleep(time.Hour)
		f.wantCounts(t, "counts after it was gone", 234)
		w.close()
		w.close()
	})
}

// TestSetOfAFrozenLayer makes sure that only the new limit counts.
func TestSetOfAFrozenLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{files: 100}
		w := f.watch()
		defer w.close()
		layer := Layer{Key: "k"}
		w.add(layer, fileRecord(100))
		f.wantFrozen(t, "frozen", true)
		apply := func(Layer, Record) error { f.runLocked(func() { f.frozen = false }); return nil }
		must(t, w.set(layer, fileRecord(200), apply))
		f.wantFrozen(t, "raised", false)
		must(t, w.set(layer, fileRecord(90), apply))
		f.wantFrozen(t, "lowered", true)
		broken := errors.New("broken")
		wantError(t, w.set(layer, fileRecord(500), func(Layer, Record) error { return broken }), broken)
		f.wantFrozen(t, "after a set that failed", true)
	})
}

func TestAFailedFreezeIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{files: 100}
		w := f.watch()
		defer w.close()
		freeze := w.freeze
		failures := 2
		w.freeze = func(layer Layer, r Record, pending uint64) error {
			if failures--; failures >= 0 {
				return errors.New("busy")
			}
			return freeze(layer, r, pending)
		}
		w.add(Layer{Key: "k"}, fileRecord(100))
		f.wantFrozen(t, "frozen", true)
		f.runLocked(func() { f.fail = errors.New("statfs") })
		f.wantFrozen(t, "uncountable, and still frozen", true)
	})
}

// TestALayerNearItsLimitHasItsTxgEnded as often as txgPauseFactor allows. A layer that all pools'
// new objects could not bring to its limit has no group ended.
func TestALayerNearItsLimitHasItsTxgEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFiles{files: 10}
		w := f.watch()
		defer w.close()
		w.add(Layer{Key: "k"}, fileRecord(100))
		create := func(n uint64) {
			f.runLocked(func() { f.created += n })
			time.Sleep(2 * minCheckInterval)
		}
		ends := func() (n int) { f.runLocked(func() { n = f.ends }); return n }
		create(80)
		equal(t, "groups ended by 80 objects with room for 90", ends(), 0)
		create(10)
		equal(t, "groups ended by 10 more", ends(), 1)
		create(80)
		equal(t, "groups ended by 80 after the count was sure", ends(), 1)
		for range 100 {
			create(20)
		}
		if n := ends(); n < 10 || time.Duration(n)*minTxgPause > 101*2*minCheckInterval+minTxgPause {
			t.Errorf("%d groups ended in %v", n, 100*2*minCheckInterval)
		}
		f.wantFrozen(t, "a layer beside a busy neighbour is frozen", false)
	})
}

// TestTheFirstFreezeAllowsForFilesInTheGroup makes sure that files that came while the count's
// transaction group ended do not make the freeze fail, which would take another group.
func TestTheFirstFreezeAllowsForFilesInTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const more = 5000
		f := &fakeFiles{}
		w := f.watch()
		defer w.close()
		w.endTxg = func(Layer, Record) error { f.runLocked(func() { f.files += more }); return nil }
		var pending []uint64
		w.freeze = func(_ Layer, _ Record, n uint64) error {
			f.runLocked(func() { pending, f.frozen = append(pending, n), true })
			return nil
		}
		w.add(Layer{Key: "k"}, fileRecord(100))
		f.runLocked(func() { f.files = 100 })
		f.wantFrozen(t, "frozen", true)
		f.runLocked(func() {
			equal(t, "freezes", len(pending), 1)
			equal(t, "pending", pending[0], more*fileBytes)
		})
	})
}
