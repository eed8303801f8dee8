//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestARemovalThatMayComeBackIsAnError makes sure that Remove reports a failed wait for the
// disk, and that the caller can repeat it.
func TestARemovalThatMayComeBackIsAnError(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	param := "/sys/module/zfs/parameters/zil_replay_disable" // no fsync helps then
	must(t, os.WriteFile(param, []byte("1"), 0))
	defer func() { must(t, os.WriteFile(param, []byte("0"), 0)) }()
	wait, lost := d.txgs.sync, errors.New("the pool is gone")
	d.txgs.sync = func(context.Context) error { return lost }
	for range 2 { // the layer is gone the second time, and still not for good
		if err := d.Remove(t.Context(), "base"); !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
	}
	d.txgs.sync = wait
	remove(t, d, "base")
	requireTidy(t, d)
}

// TestARemovalThatLeavesAMarkSucceeds makes sure that a layer whose marks cannot be deleted
// is removed with all of its files.
func TestARemovalThatLeavesAMarkSucceeds(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	mark := d.home.buildingMark("base")
	must(t, errors.Join(os.Remove(mark), os.Mkdir(mark, 0o700))) // unlink refuses it
	remove(t, d, "base")
	must(t, d.WaitReaper(t.Context()))
	if exists(t, d, "base") {
		t.Error("the layer exists")
	}
	if left := list(t, d.home.privatePath(trashDir)); len(left) > 0 {
		t.Errorf("files of the layer are left: %q", left)
	}
	must(t, os.Remove(mark))
	requireTidy(t, d)
}

// slowReaper replaces the store's reaper by one that deletes nothing before it is let go,
// and has as many layers to delete as it may.
func slowReaper(d *Driver) (letGo func()) {
	gate := make(chan struct{})
	discard := d.reaper.discard
	d.reaper = newReaper(func(ctx context.Context, dir string) {
		<-gate
		if filepath.IsAbs(dir) {
			discard(ctx, dir)
		}
	}, &d.calls)
	for range maxBacklog {
		d.reaper.enqueue("none")
	}
	return func() { close(gate) }
}

// TestARemovalThatWaitsForTheReaperHoldsNoLock makes sure that Cleanup and Restart need not
// wait for the deletion of files.
func TestARemovalThatWaitsForTheReaperHoldsNoLock(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	letGo := slowReaper(d)
	done := make(chan error, 1)
	go func() { done <- d.Remove(context.Background(), "base") }()
	eventually(t, "the layer is gone and no lock is held", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		release, err := d.storeLock.Lock(ctx)
		if err != nil {
			return false
		}
		defer release()
		gone, err := d.home.layer("base").exists()
		return err == nil && !gone
	})
	select {
	case err := <-done:
		t.Errorf("Remove does not wait for the reaper: %v", err)
	default:
	}
	letGo()
	must(t, <-done)
	requireTidy(t, d)
}

// countCommits returns how often the intent logs of all datasets were committed.
func countCommits(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/spl/kstat/zfs/zil")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "zil_commit_count" {
			n, err = strconv.Atoi(fields[2])
			must(t, err)
			return n
		}
	}
	t.Fatalf("no zil_commit_count in %s", text)
	return 0
}

// TestTheReaperCommitsItsDeletions makes sure that the fsync of a container does not have to
// commit the deletion of a large layer.
func TestTheReaperCommitsItsDeletions(t *testing.T) {
	d := openStore(t)
	dir := d.home.privatePath(trashDir, NewShortName())
	const batches = 4
	for i := range batches * reapBatch {
		write(t, filepath.Join(dir, "diff", strconv.Itoa(i)), "")
	}
	before := countCommits(t)
	d.discardLayer(t.Context(), dir)
	if n := countCommits(t) - before; n < batches {
		t.Errorf("%d commits of %d deletions", n, batches*reapBatch)
	}
	requireTidy(t, d)
}
