//go:build vm

package zfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestPoolStatsAgreeWithTheCommand(t *testing.T) {
	h := open(t)
	name := testPool(t)
	syncPool(t, h)
	p, err := h.PoolStats(name)
	check(t, err)
	want := cli(t, "zpool", "list", "-Hp", "-o", "name,health,guid,size,allocated,free,capacity,readonly", name)
	got := fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s", p.Name, p.Health, p.GUID, p.Size, p.Allocated, p.Free, p.Capacity,
		map[bool]string{false: "off", true: "on"}[p.ReadOnly])
	equal(t, "pool", got, want)
	_, err = h.PoolStats(name + "/dataset")
	wantError(t, err, fault.Invalid)
}

func TestPoolFeaturesAgreeWithTheCommand(t *testing.T) {
	h := open(t)
	name := testPool(t)
	for guid, feature := range map[string]string{
		FeatureZILXattr: "zilsaxattr", "org.illumos:edonr": "edonr", "com.example:none": "",
	} {
		got, err := h.PoolFeature(name, guid)
		check(t, err)
		want := feature != "" && cli(t, "zpool", "get", "-Ho", "value", "feature@"+feature, name) != "disabled"
		equal(t, guid, got, want)
	}
	_, err := h.PoolFeature(name+"/dataset", FeatureZILXattr)
	wantError(t, err, fault.Invalid)
}

// A pool made without the feature.
func TestAPoolWithoutAFeature(t *testing.T) {
	h := open(t)
	const name = "featureless"
	file := filepath.Join(t.TempDir(), "disk")
	check(t, os.WriteFile(file, nil, 0o600))
	check(t, os.Truncate(file, 100<<20))
	cli(t, "zpool", "create", "-m", "none", "-o", "feature@zilsaxattr=disabled", name, file)
	t.Cleanup(func() { cli(t, "zpool", "destroy", name) })
	got, err := h.PoolFeature(name, FeatureZILXattr)
	check(t, err)
	equal(t, "feature", got, false)
}

func TestCounters(t *testing.T) {
	h := open(t)
	name := fresh(t)
	_, err := ObjsetKstat(testPool(t), name)
	wantError(t, err, ErrNotExist)
	dir := mounted(t, name)
	before, err := ObjsetKstat(testPool(t), name)
	check(t, err)
	check(t, fill(dir, "data", 1<<20))
	f, err := os.Open(filepath.Join(dir, "data"))
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
	after, err := before.Refresh()
	check(t, err)
	t.Logf("%+v", after)
	equal(t, "bytes written", after.BytesWritten-before.BytesWritten, 1<<20)
	if after.Writes <= before.Writes || after.ZILCommits <= before.ZILCommits {
		t.Errorf("%+v, then %+v", before, after)
	}
	syncPool(t, h)
	value, err := ModuleParam("zfs_bclone_enabled")
	check(t, err)
	raw, err := os.ReadFile("/sys/module/zfs/parameters/zfs_bclone_enabled")
	check(t, err)
	equal(t, "parameter", value, strings.TrimSpace(string(raw)))
	_, err = ModuleParam("zfs_no_such_parameter")
	wantError(t, err, ErrNotExist)
}

// smallPool is a pool on a sparse file of a tmpfs that is smaller than the
// file, so that its device fails when enough was written.
func smallPool(t *testing.T, room string) (pool, tmpfs string) {
	t.Helper()
	pool, tmpfs = "zfstestpool", "/run/zfstestpool"
	check(t, os.Mkdir(tmpfs, 0o755))
	t.Cleanup(func() { check(t, os.Remove(tmpfs)) })
	check(t, unix.Mount("tmpfs", tmpfs, "tmpfs", 0, "size="+room))
	t.Cleanup(func() { check(t, unix.Unmount(tmpfs, 0)) })
	file := filepath.Join(tmpfs, "vdev")
	check(t, os.WriteFile(file, nil, 0o600))
	check(t, os.Truncate(file, 256<<20))
	cli(t, "zpool", "create", "-f", "-O", "mountpoint=none", "-o", "failmode=wait", "-o", "cachefile=none", pool, file)
	t.Cleanup(func() { destroyPool(t, pool, tmpfs) })
	return pool, tmpfs
}

// destroyPool makes room for the device and resumes the pool first.
func destroyPool(t *testing.T, pool, tmpfs string) {
	t.Helper()
	check(t, unix.Mount("", tmpfs, "", unix.MS_REMOUNT, "size=512m"))
	for range 20 {
		if state, err := PoolState(pool); err == nil && state == "ONLINE" {
			break
		}
		timed(t, "zpool", "clear", pool)
		time.Sleep(500 * time.Millisecond)
	}
	// A refused request gives back its references a moment later.
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for range 40 {
		if exec.Command("zpool", "destroy", "-f", pool).Run() == nil {
			return
		}
		<-tick.C
	}
	timed(t, "zpool", "destroy", "-f", pool)
}

// timed runs a command that a suspended pool could block.
func timed(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(within(t, 30*time.Second), name, args...).CombinedOutput(); err != nil {
		t.Logf("%s %q: %v: %s", name, args, err, out)
	}
}

// suspend fills a dataset of the pool until the device fails. The writer is
// left behind: it ends when the pool is resumed.
func suspend(t *testing.T, h *Handle, pool string) {
	t.Helper()
	name := pool + "/data"
	check(t, h.CreateFilesystem(name, Properties{"mountpoint": String("legacy"), "compression": Uint(2)}))
	dir := mounted(t, name)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			if fill(dir, fmt.Sprint(i), 1<<20) != nil {
				return
			}
		}
		_ = h.SyncPool(context.Background(), pool)
	}()
	t.Cleanup(func() { resume(t, pool, done) })
	deadline := time.Now().Add(time.Minute)
	for !isSuspended(pool) {
		if time.Now().After(deadline) {
			t.Fatal("the pool did not become suspended")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// resume lets the writer end before its dataset is unmounted.
func resume(t *testing.T, pool string, done <-chan struct{}) {
	t.Helper()
	check(t, unix.Mount("", "/run/"+pool, "", unix.MS_REMOUNT, "size=512m"))
	for range 60 {
		timed(t, "zpool", "clear", pool)
		select {
		case <-done:
			return
		case <-time.After(time.Second):
		}
	}
	t.Error("the pool did not resume")
}

func TestASuspendedPoolBlocksNobody(t *testing.T) {
	h := open(t)
	pool, _ := smallPool(t, "48m")
	check(t, h.CreateFilesystem(pool+"/other", Properties{"mountpoint": String("none")}))
	check(t, h.Snapshot([]string{pool + "/other@s"}, nil))
	suspend(t, h, pool)
	name := pool + "/other"
	requests := map[string]func() error{
		"exists":    func() error { _, err := h.Exists(name); return err },
		"stats":     func() error { _, err := h.DatasetStats(name); return err },
		"children":  func() error { _, err := Collect(h.Children(pool)); return err },
		"snapshots": func() error { _, err := Collect(h.Snapshots(name)); return err },
		"holds":     func() error { _, err := h.Holds(name + "@s"); return err },
		"usage":     func() error { _, err := h.ProjectUsage(name, 1); return err },
		"projects":  func() error { _, err := h.Projects(name); return err },
		"quota":     func() error { return h.SetProjectQuota(name, 1, 1<<20, 0) },
		"set":       func() error { return h.SetUint(name, "quota", 1<<20) },
		"inherit":   func() error { return h.Inherit(name, "overlayzfs:x") },
		"create":    func() error { return h.CreateFilesystem(pool+"/new", nil) },
		"destroy":   func() error { return h.DestroyRetry(context.Background(), name) },
		"snapshot":  func() error { return h.Snapshot([]string{name + "@t"}, nil) },
		"unsnap":    func() error { return h.DestroySnapshots([]string{name + "@s"}, false) },
		"hold":      func() error { return h.Hold(name+"@s", "tag") },
		"release":   func() error { return h.Release(name+"@s", "tag") },
		"rollback":  func() error { return h.Rollback(context.Background(), name, name+"@s") },
		"sync":      func() error { return h.SyncPool(context.Background(), pool) },
		"wait":      func() error { return h.WaitTxg(context.Background(), name) },
	}
	for what, request := range requests {
		answer := make(chan error, 1)
		go func() { answer <- request() }()
		select {
		case err := <-answer:
			if e := wantError(t, err, ErrSuspended, fault.PoolUnavailable); e.Errno != unix.EAGAIN {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s blocks", what)
		}
	}
	p, err := h.PoolStats(pool)
	if err != nil || !p.Suspended() || p.Health != PoolSuspended {
		t.Errorf("%+v, %v", p, err)
	}
	// The other pool does not mind.
	_, err = h.DatasetStats(testPool(t))
	check(t, err)
}

func TestAReadOnlyPoolIsTold(t *testing.T) {
	h := open(t)
	pool, tmpfs := smallPool(t, "256m")
	check(t, h.CreateFilesystem(pool+"/fs", Properties{"mountpoint": String("none")}))
	cli(t, "zpool", "export", pool)
	cli(t, "zpool", "import", "-N", "-o", "readonly=on", "-o", "cachefile=none", "-d", tmpfs, pool)
	p, err := h.PoolStats(pool)
	if err != nil || !p.ReadOnly {
		t.Errorf("%+v, %v", p, err)
	}
	wantError(t, h.SyncPool(context.Background(), pool), ErrReadOnly, fault.ReadOnly)
	wantError(t, h.WaitTxg(context.Background(), pool), ErrReadOnly, fault.ReadOnly)
	wantError(t, h.CreateFilesystem(pool+"/new", nil), ErrReadOnly)
	wantError(t, h.SetUint(pool+"/fs", "quota", 1<<20), ErrReadOnly)
	_, err = h.DatasetStats(pool + "/fs")
	check(t, err)
}

func TestSyncPoolEndsWithItsContext(t *testing.T) {
	h := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantError(t, h.SyncPool(ctx, testPool(t)), context.Canceled)
	check(t, h.SyncPool(context.Background(), testPool(t)))
}
