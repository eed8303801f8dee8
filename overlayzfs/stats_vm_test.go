//go:build vm

package overlayzfs

import (
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// counted records the calls of an Observer.
type counted struct {
	mu             sync.Mutex
	opened, closed int
	waits          map[Barrier]int
}

func (c *counted) ObserveOpen(*Driver)  { c.mu.Lock(); c.opened++; c.mu.Unlock() }
func (c *counted) ObserveClose(*Driver) { c.mu.Lock(); c.closed++; c.mu.Unlock() }

func (c *counted) ObserveBarrier(b Barrier, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && took > 0 {
		c.waits[b]++
	}
}

// TestAStoreInNumbers compares Stats with what the test did.
func TestAStoreInNumbers(t *testing.T) {
	c := &counted{waits: map[Barrier]int{}}
	o := testOptions
	o.Dataset, o.Observer = dataset(t, "numbers"), c
	d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/file", "content") })
	limited(t, d, "small", "size=10M", "inodes=1000")
	limited(t, d, "tuned", "recordsize=16K") // properties are no limit
	if _, err := d.Get(t.Context(), "small", ""); err != nil {
		t.Fatal(err)
	}
	must(t, d.waitTxg(t.Context()))

	s, err := d.Stats()
	must(t, err)
	if s.Dataset != o.Dataset || s.Pool.Health != "ONLINE" || s.Pool.Size == 0 || s.Pool.Allocated == 0 {
		t.Errorf("%+v", s)
	}
	if s.Space == nil || s.Space.Used == 0 || s.Space.Available == 0 {
		t.Errorf("space %+v", s.Space)
	}
	if s.Content == nil || s.Content.Layers != 3 || s.Content.Mounts != 1 || s.Content.Removing != 0 || len(s.Content.Limited) != 1 {
		t.Fatalf("content %+v", s.Content)
	}
	if l := s.Content.Limited[0]; l.ID != "small" || l.Limits.Bytes != 10*mib || l.Limits.Inodes != 1000 || l.Usage.Bytes == 0 || l.Usage.Inodes == 0 {
		t.Errorf("limited %+v", l)
	}
	must(t, d.Put(t.Context(), "small"))
	must(t, d.Remove(t.Context(), "small"))
	must(t, d.WaitReaper(t.Context()))
	if s, err = d.Stats(); err != nil || s.Content.Layers != 2 || s.Content.Mounts != 0 || len(s.Content.Limited) != 0 {
		t.Errorf("after the removal %+v, %v", s.Content, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened != 1 || c.closed != 0 || c.waits[TxgBarrier] == 0 || c.waits[IntentLogBarrier] == 0 {
		t.Errorf("observed %+v", c)
	}
}

// TestMountsOfSomebodyElseAreCounted counts each external mount once, by its lower directories.
func TestMountsOfSomebodyElseAreCounted(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	commitOnce(t, d, "1")
	for _, id := range []string{"2", "3"} {
		mine(t, d, id, "1", nil)
		m, err := d.WritableMount(t.Context(), id)
		must(t, err)
		mountAt(t, m)
	}
	s, err := d.Stats()
	must(t, err)
	if s.Content.Mounts != 2 || s.Content.Layers != 3 {
		t.Errorf("%+v", s.Content)
	}
}
