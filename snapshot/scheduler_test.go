package snapshot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// fakeWorker takes snapshots in memory.
type fakeWorker struct {
	mu    sync.Mutex
	infos []Info
	times []time.Duration // since start, of what was taken
	start time.Time
	fail  error
	block chan struct{} // if set, take waits for it, as for a suspended pool
}

func (w *fakeWorker) take(_ context.Context, e Event, at time.Time) (string, error) {
	if w.block != nil {
		<-w.block
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return "", w.fail
	}
	w.times = append(w.times, time.Since(w.start))
	w.infos = append(w.infos, Info{Name: makeName(e, at, 1), Event: e, Time: at, CreateTXG: uint64(len(w.times))})
	return "", nil
}

func (w *fakeWorker) prune(_ context.Context, p Policy) ([]Info, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := map[string]bool{}
	for _, info := range listExcess(w.infos, p) {
		gone[info.Name] = true
	}
	w.infos = dropNames(w.infos, gone)
	return w.infos, len(gone) > 0, nil
}

func startScheduler(w *fakeWorker, c Config) *Scheduler {
	w.start = time.Now()
	k := newScheduler(c, w, time.Now().AddDate(-1, 0, 0))
	go k.run()
	return k
}

func end(t *testing.T, k *Scheduler) {
	t.Helper()
	if err := k.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestABuildGivesOneSnapshot has 50 steps, one every 4 seconds, each of which also removes a layer.
func TestABuildGivesOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWorker{}
		k := startScheduler(w, Config{Policy: Policy{Committed: 5}})
		for range 50 {
			k.Notify(Committed)
			k.Notify(Removed) // not in the policy
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Hour)
		end(t, k)
		if diff := cmp.Diff([]time.Duration{49*4*time.Second + QuietPeriod}, w.times); diff != "" {
			t.Errorf("taken at (-want +got):\n%s", diff)
		}
	})
}

// TestARowWithoutEnd makes sure that an endless series gives one snapshot every five minutes.
func TestARowWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWorker{}
		k := startScheduler(w, Config{Policy: Policy{Removed: 5}})
		for range 11 * 60 {
			k.Notify(Removed)
			time.Sleep(time.Second)
		}
		if n := len(w.times); n != 2 || w.times[0] != MaxDelay {
			t.Errorf("taken at %v", w.times)
		}
		end(t, k)
		if len(w.times) != 3 {
			t.Errorf("Close did not take what was announced: %v", w.times)
		}
	})
}

// TestStopStaysTheNewest makes sure that a snapshot of Stop covers all waiting events, unless it
// fails.
func TestStopStaysTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fails := range []bool{false, true} {
			w := &fakeWorker{}
			if fails {
				w.fail = fault.New(fault.NoSpace, "full")
			}
			k := startScheduler(w, Config{Policy: Policy{Stop: 1, Committed: 1}})
			k.Notify(Committed)
			if err := k.Take(t.Context(), Stop); (err != nil) != fails {
				t.Error(err)
			}
			w.fail = nil
			end(t, k)
			want := Stop
			if fails {
				want = Committed
			}
			if len(w.infos) != 1 || w.infos[0].Event != want {
				t.Errorf("taken are %+v, want %s", w.infos, want)
			}
		}
	})
}

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pruned := 0
		w := &fakeWorker{}
		k := startScheduler(w, Config{Policy: Policy{Daily: 2}, AfterPrune: func() { pruned++ }})
		time.Sleep(12 * time.Hour)
		end(t, k)
		k = startScheduler(w, Config{Policy: Policy{Daily: 2}, AfterPrune: func() { pruned++ }}) // a restart resets nothing
		time.Sleep(3*24*time.Hour + time.Hour)
		if got := k.Status(); len(got) != 1 || got[0][1] != "2 (daily 2/2)" {
			t.Errorf("status %v", got)
		}
		end(t, k)
		if len(w.times) != 4 || pruned != 2 {
			t.Errorf("taken at %v, pruned %d times", w.times, pruned)
		}
	})
}

// TestFailureIsLoggedOnceForEachCause and shown until a snapshot succeeds.
func TestFailureIsLoggedOnceForEachCause(t *testing.T) {
	var log bytes.Buffer
	logrus.SetOutput(&log)
	defer logrus.SetOutput(os.Stderr)
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWorker{fail: fault.New(fault.NoSpace, "full")}
		k := startScheduler(w, Config{Policy: Policy{Stop: 2, Hourly: 1}})
		time.Sleep(10 * time.Minute)
		if err := k.Take(t.Context(), Stop); !errors.Is(err, fault.NoSpace) {
			t.Errorf("Take: %v", err)
		}
		if n := strings.Count(log.String(), "full"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		if status := k.Status(); len(status) != 2 || !strings.Contains(status[1][1], "full") {
			t.Errorf("status %v", status)
		}
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		if err := k.Take(t.Context(), Stop); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if status := k.Status(); len(status) != 1 || status[0][1] != "2 (stop 1/2, hourly 1/1)" {
			t.Errorf("status %v", status)
		}
		end(t, k)
	})
}

// TestAPoolThatDoesNotAnswer makes sure that no caller waits longer than its context.
func TestAPoolThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWorker{block: make(chan struct{})}
		k := startScheduler(w, Config{Policy: Policy{Start: 1, Stop: 1}})
		k.Notify(Start)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := k.Take(ctx, Stop); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Take: %v", err)
		}
		if err := k.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(w.block)
	})
}

func TestNilScheduler(t *testing.T) {
	k, err := New(Config{Policy: Policy{}})
	if err != nil || k != nil {
		t.Fatalf("got %v, %v", k, err)
	}
	k.Notify(Stop)
	if err := errors.Join(k.Take(t.Context(), Stop), k.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if got := k.Status(); len(got) != 1 || got[0][1] != "off" {
		t.Errorf("status %v", got)
	}
	if _, err := New(Config{Policy: Policy{Stop: 1}}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("without /dev/zfs: %v", err)
	}
}
