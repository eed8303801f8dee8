//go:build vm

package quota

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTheGovernorsBound measures how far beyond a project quota a writer gets, and how far before
// it a writer is refused. There is no overlay on the project directories here, because a released
// OpenZFS cannot carry one.
func TestTheGovernorsBound(t *testing.T) {
	s := newStore(t, Project)
	for _, c := range []struct {
		name    string
		limit   uint64
		chunk   int
		writers int
	}{
		{"writes of 64 KiB", 50 * mib, 64 << 10, 1},
		{"writes of 4 MiB", 50 * mib, 4 * mib, 1},
		{"writes of 4 MiB", 300 * mib, 4 * mib, 1},
		{"4 writers of 64 KiB", 100 * mib, 64 << 10, 4},
		{"4 writers of 4 MiB", 100 * mib, 4 * mib, 4},
	} {
		layer := s.add("bound", bytesOf(c.limit))
		s.attach(layer)
		refused, refusals := fillUp(t, s, layer, c.chunk, c.writers)
		over := float64(refused.end) - float64(c.limit)
		t.Logf("limit %d MiB, %s: first refusal with %.2f MiB free; %d refusals; at the end %+.2f MiB",
			c.limit/mib, c.name, (float64(c.limit)-float64(refused.first))/mib, refusals, over/mib)
		if over > 64*mib { // without a governor it is 200 and more; emulated processors look late
			t.Errorf("%.2f MiB over", over/mib)
		}
		s.remove(layer)
		s.sync()
	}
}

// TestOneCallBeyondTheLimit does as moby's test of quotas: it writes half of the limit, and then
// all of it in one call. A call is counted when it returns, and before that only as far as memory
// holds its data. So one call may pass, and none after it.
func TestOneCallBeyondTheLimit(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("one", bytesOf(50*mib))
	s.attach(layer)
	if n, err := writeUntil(filepath.Join(layer.Dir, "diff/small"), 25*mib, 25*mib); err != nil {
		t.Errorf("half of the limit: %d, %v", n, err)
	}
	n, err := writeUntil(filepath.Join(layer.Dir, "diff/big"), 50*mib, 50*mib)
	next, late := writeUntil(filepath.Join(layer.Dir, "diff/next"), 50*mib, 64<<10)
	wantError(t, late, unix.EDQUOT)
	s.sync()
	used, look := s.Usage(layer)
	must(t, look)
	t.Logf("limit 50 MiB, 25 in it, 50 in one call: %.2f MiB, %v; then %.2f MiB; %.2f MiB used", float64(n)/mib, err, float64(next)/mib, float64(used.Bytes)/mib)
	if used.Bytes > 90*mib {
		t.Error("too much")
	}
}

type filled struct{ first, end uint64 }

// fillUp writes until the layer is full, through all refusals. It returns the usage at the first
// refusal and at the end.
func fillUp(t *testing.T, s *store, layer Layer, chunk, writers int) (filled, int) {
	t.Helper()
	var mu sync.Mutex
	var total uint64
	var result filled
	refusals := 0
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			f, err := os.Create(filepath.Join(layer.Dir, "diff", string(rune('a'+i))))
			must(t, err)
			defer f.Close()
			data := make([]byte, chunk)
			for since := time.Now(); time.Since(since) < time.Second; {
				n, err := f.Write(data)
				mu.Lock()
				total += uint64(n)
				if err != nil {
					refusals++
					if result.first == 0 {
						result.first = total
					}
				}
				mu.Unlock()
				switch {
				case err == nil:
					since = time.Now()
				case errors.Is(err, unix.EDQUOT):
					time.Sleep(50 * time.Millisecond)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	s.sync()
	used, err := s.Usage(layer)
	must(t, err)
	result.end = used.Bytes
	return result, refusals
}

// TestNeighboursAndTheGovernor counts false refusals of a layer near its limit while a layer
// without a limit writes a lot. They end with it.
func TestNeighboursAndTheGovernor(t *testing.T) {
	const free, noisy = 64 * mib, 2 * time.Second
	s := newStore(t, Project)
	layer := s.add("quiet", bytesOf(free+4*mib))
	s.attach(layer)
	if _, err := writeUntil(filepath.Join(layer.Dir, "diff/base"), 4*mib, mib); err != nil {
		t.Fatal(err)
	}
	s.sync()
	// Its creation can be refused as falsely as a write.
	f, err := os.Create(filepath.Join(layer.Dir, "diff/little"))
	must(t, err)
	defer f.Close()
	write := func() error {
		_, err := f.WriteAt(make([]byte, 4096), 0)
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), noisy)
	defer cancel()
	var neighbour sync.WaitGroup
	var noise uint64
	neighbour.Go(func() { noise = writeFor(ctx, filepath.Join(s.home, "noise")) })
	tries, refused := 0, 0
	for ctx.Err() == nil {
		tries++
		if err := write(); err != nil {
			wantError(t, err, unix.EDQUOT)
			refused++
		}
		time.Sleep(10 * time.Millisecond)
	}
	neighbour.Wait()
	t.Logf("%d MiB free, a neighbour writes %.0f MiB/s: %d of %d small writes refused", free/mib, float64(noise)/mib/noisy.Seconds(), refused, tries)
	eventually(t, "it may write again", func() bool { return write() == nil })
	must(t, os.Remove(filepath.Join(s.home, "noise")))
	s.remove(layer)
}

func writeFor(ctx context.Context, path string) (total uint64) {
	f, err := os.Create(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	data := make([]byte, mib)
	for ctx.Err() == nil {
		n, err := f.WriteAt(data, int64(total%(64*mib)))
		if err != nil {
			return total
		}
		total += uint64(n)
	}
	return total
}

// TestTheGovernorSleepsOnAPool while no layer with a limit is attached.
func TestTheGovernorSleepsOnAPool(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("near", bytesOf(2*mib))
	s.attach(layer)
	g := s.controllers[Project].(*projects).governor
	running := func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.running }
	eventually(t, "it looks after an attached layer", running)
	s.detach(layer)
	eventually(t, "it sleeps", func() bool { return !running() })
}

// TestDeletingMakesRoom writes to a full layer again after a deletion.
func TestDeletingMakesRoom(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("full", bytesOf(30*mib))
	s.attach(layer)
	file := filepath.Join(layer.Dir, "diff/file")
	_, err := writeUntil(file, 100*mib, mib)
	wantError(t, err, unix.EDQUOT)
	must(t, os.Remove(file))
	begun := time.Now()
	eventually(t, "room again", func() bool {
		_, err := writeUntil(filepath.Join(layer.Dir, "diff/new"), mib, mib)
		return err == nil
	})
	t.Logf("room again %v after the rm", time.Since(begun).Round(time.Millisecond))
	s.sync()
	must(t, s.SetLimits(layer, Limits{Bytes: 200 * mib}))
	time.Sleep(2 * fullPause)
	if n, err := writeUntil(filepath.Join(layer.Dir, "diff/more"), 60*mib, 64<<10); err != nil {
		t.Errorf("raised: %v after %d", err, n)
	}
}
