//go:build vm

package storemetrics

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestARealStoreIsScraped scrapes a store on a real pool, with a layer close to its limit.
func TestARealStoreIsScraped(t *testing.T) {
	s := serve(t, quiet())
	parent, err := zfs.DatasetOf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pool, _, _ := strings.Cut(parent, "/")
	dataset := pool + "/scraped"
	zfsCommand(t, "create", "-o", "mountpoint=legacy", "-o", "compression=off", dataset)
	t.Cleanup(func() { zfsCommand(t, "destroy", "-r", dataset) })
	d, err := overlayzfs.Open(t.Context(), filepath.Join(t.TempDir(), "home"), overlayzfs.Options{
		Dataset: dataset, Observer: s, MayResume: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d)

	f := s.scrape(t)
	want(t, f, 1, "store_up")
	want(t, f, 1, "store_info", "dataset="+dataset, "pool="+pool)
	want(t, f, 2, "layers")
	want(t, f, 1, "mounts")
	want(t, f, 1, "limited_layers")
	want(t, f, 1, "limited_layers_near_full")
	if ratio := f.number("limit_used_ratio", "layer=full", "limit=size"); ratio < 0.8 || ratio > 1 {
		t.Errorf("9 of 10 MiB are %v", ratio)
	}
	want(t, f, 1, "pool_state", "pool="+pool, "state=ONLINE")
	if used := f.number("dataset_used_bytes", "dataset="+dataset); used < 9<<20 {
		t.Errorf("used %v", used)
	}
	if size, free := f.number("pool_size_bytes"), f.number("pool_free_bytes"); free <= 0 || size <= free {
		t.Errorf("free %v of %v", free, size)
	}
	if n := f.get("barrier_duration_seconds", "by=txg").GetHistogram().GetSampleCount(); n == 0 {
		t.Error("nothing was waited for")
	}

	for _, err := range []error{d.Put(t.Context(), "full"), d.Remove(t.Context(), "full"), d.WaitReaper(t.Context()), d.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
	f = s.scrape(t)
	want(t, f, 0, "store_up")
	if f.get("layers") != nil {
		t.Error("layers of a store that is closed")
	}
}

// fill makes a base layer, and a layer on it that uses 9 of its 10 MiB.
func fill(t *testing.T, d *overlayzfs.Driver) {
	t.Helper()
	ctx := t.Context()
	if err := d.Create(ctx, "base", "", overlayzfs.CreateOptions{Recorded: true}); err != nil {
		t.Fatal(err)
	}
	o := overlayzfs.CreateOptions{ReadWrite: true, Recorded: true, StorageOpt: map[string]string{"size": "10M"}}
	if err := d.Create(ctx, "full", "base", o); err != nil {
		t.Fatal(err)
	}
	dir, err := d.Get(ctx, "full", "")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dd", "if=/dev/urandom", "of="+dir+"/file", "bs=1M", "count=9").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := d.WaitTxg(ctx); err != nil {
		t.Fatal(err)
	}
}

func zfsCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("zfs %q: %v: %s", args, err, out)
	}
}
