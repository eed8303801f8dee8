package migrate

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestReadersShareAMount: the module refuses a second one while the first is being
// made or is ending.
func TestReadersShareAMount(t *testing.T) {
	dir := t.TempDir()
	var mounts, refusals atomic.Int64
	var root *os.File
	v := &datasetMounts{mount: func(string) (*os.File, error) {
		if mounts.Add(1) == 1 { // a process that was killed had it
			refusals.Add(1)
			return nil, fault.New(fault.Busy, "in between")
		}
		f, err := os.Open(dir)
		root = f
		return f, err
	}}
	first, err := v.openDir("tank/a", ".")
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			f, err := v.openDir("tank/a", ".")
			if err == nil {
				_, err = f.Readdirnames(-1)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if mounts.Load() != 2 || refusals.Load() != 1 {
		t.Errorf("mounted %d times", mounts.Load())
	}
	shared := root
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the mount outlives its readers: %v", err)
	}
	again, err := v.openDir("tank/a", ".")
	if err != nil || mounts.Load() != 3 {
		t.Fatalf("mounted %d times, %v", mounts.Load(), err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	missing := errors.New("no such dataset")
	v.mount = func(string) (*os.File, error) { return nil, missing }
	if _, err := v.openDir("tank/b", "."); !errors.Is(err, missing) {
		t.Errorf("%v", err)
	}
}
