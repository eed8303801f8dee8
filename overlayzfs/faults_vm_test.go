//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// These tests break the pool below a store, or the access to it. Each has a pool of its own, on
// files of a tmpfs.

// answerLimit is the longest time of a call that must not wait for the pool. A call that does
// wait takes as long as the test.
const answerLimit = 20 * time.Second

const faultPool = "overlayzfs-faults"

// roomy is more than all devices of a test's pool hold.
const roomy = "1g"

// filePool makes a pool on sparse files of a tmpfs with limited room. When the room is less than
// the files' size, a device fails after enough writes.
func filePool(t *testing.T, room string, vdev ...string) (tmpfs string) {
	t.Helper()
	tmpfs = plainDir(t)
	must(t, unix.Mount("tmpfs", tmpfs, "tmpfs", 0, "size="+room))
	unmountAfter(t, tmpfs)
	args := []string{"create", "-f", "-O", "mountpoint=none", "-O", "compression=off", "-o", "failmode=wait", "-o", "cachefile=none", faultPool}
	for _, word := range vdev {
		if word != "mirror" {
			word = filepath.Join(tmpfs, word)
			must(t, os.WriteFile(word, nil, 0o600))
			must(t, os.Truncate(word, 256<<20))
		}
		args = append(args, word)
	}
	zpoolCommand(t, args...)
	t.Cleanup(func() { destroyFaultPool(t) })
	return tmpfs
}

func destroyFaultPool(t *testing.T) {
	t.Helper()
	// The kernel releases a refused request a moment later.
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for range 40 {
		if exec.Command("zpool", "destroy", "-f", faultPool).Run() == nil {
			return
		}
		<-tick.C
	}
	zpoolCommand(t, "destroy", "-f", faultPool)
}

func zpoolCommand(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "zpool", args...).CombinedOutput(); err != nil {
		t.Fatalf("zpool %q: %v: %s", args, err, out)
	}
}

// faultStore makes a store with a base layer and one above it, on a dataset of the pool.
func faultStore(t *testing.T, name string) *Driver {
	t.Helper()
	o := testOptions
	o.Dataset = faultPool + "/" + name
	zfsCommand(t, "create", "-o", "mountpoint=legacy", o.Dataset)
	d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/old", "old") })
	create(t, d, "top", "base")
	return d
}

// isSuspended reports whether the pool waits for its devices.
func isSuspended() bool {
	state, err := zfs.PoolState(faultPool)
	return err == nil && state == zfs.PoolSuspended
}

// suspend writes to dir until the pool's device fails, and returns a function that brings the
// pool back. The writer ends when the pool is back.
func suspend(t *testing.T, d *Driver, tmpfs, dir string) (resume func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 100 {
			if os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), make([]byte, mib), 0o600) != nil {
				return
			}
		}
		_ = d.zfs.SyncPool(context.Background(), faultPool)
	}()
	back := false
	resume = func() {
		if back {
			return
		}
		back = true
		must(t, unix.Mount("", tmpfs, "", unix.MS_REMOUNT, "size="+roomy))
		eventually(t, "the pool is back", func() bool {
			zpoolCommand(t, "clear", faultPool)
			return !isSuspended() && isClosed(done)
		})
	}
	t.Cleanup(resume)
	eventually(t, "the pool is suspended", isSuspended)
	return resume
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(2 * time.Minute)
	for !check() {
		select {
		case <-limit:
			t.Fatalf("it does not come to be that %s", what)
		case <-poll.C:
		}
	}
}

// promptly runs a call that must not wait for the pool. It leaves a call that waits behind.
func promptly(t *testing.T, what string, call func() error) (err error, answered bool) {
	t.Helper()
	begin := time.Now()
	answer := make(chan error, 1)
	go func() { answer <- call() }()
	select {
	case err := <-answer:
		t.Logf("%s, after %v: %v", what, time.Since(begin).Round(time.Millisecond), err)
		return err, true
	case <-time.After(answerLimit):
		t.Errorf("%s waits for the pool", what)
		return nil, false
	}
}

// calls are the calls that change a store or look at its layers.
func calls(d *Driver) map[string]func() error {
	ctx := context.Background()
	limit := map[string]string{"size": "10M"}
	return map[string]func() error{
		"create":         func() error { return d.Create(ctx, "new", "base", CreateOptions{}) },
		"create limited": func() error { return d.Create(ctx, "box", "base", CreateOptions{ReadWrite: true, StorageOpt: limit}) },
		"limit":          func() error { return d.SetLimits(ctx, "limited", limit) },
		"get":            func() error { _, err := d.Get(ctx, "top", ""); return err },
		"get mounted":    func() error { _, err := d.Get(ctx, "used", ""); return err },
		"put":            func() error { return d.Put(ctx, "used") },
		"remove":         func() error { return d.Remove(ctx, "top") },
		"exists":         func() error { _, err := d.Exists(ctx, "top"); return err },
		"metadata":       func() error { _, err := d.Metadata(ctx, "limited"); return err },
		"diff":           func() error { _, err := d.Diff(ctx, "top", "base"); return err },
		"diff size":      func() error { _, err := d.DiffSize(ctx, "top", "base"); return err },
		"changes":        func() error { _, err := d.Changes(ctx, "top", "base"); return err },
		"apply": func() error {
			_, err := d.ApplyDiff(ctx, "top", "base", bytes.NewReader(nil))
			return err
		},
		"restart": func() error { return d.Restart(ctx) },
		"cleanup": func() error { return d.Cleanup(ctx) },
	}
}

// statusOf returns the value of a line of Status.
func statusOf(t *testing.T, d *Driver, line string) string {
	t.Helper()
	lines, err := d.Status(context.Background())
	must(t, err)
	for _, l := range lines {
		if l[0] == line {
			return l[1]
		}
	}
	t.Errorf("status has no %q: %q", line, lines)
	return ""
}

// TestASuspendedPoolIsToldPromptly makes sure that a call which begins while the pool is
// suspended fails at once, and waits for no lock.
func TestASuspendedPoolIsToldPromptly(t *testing.T) {
	tmpfs := filePool(t, "64m", "vdev")
	d, idle := faultStore(t, "layers"), faultStore(t, "idle")
	limited(t, d, "limited", "size=50M")
	limited(t, d, "used")
	dir := get(t, d, "used")
	zfsCommand(t, "create", "-o", "mountpoint=legacy", faultPool+"/unopened")
	resume := suspend(t, d, tmpfs, dir)

	for what, call := range calls(d) {
		err, answered := promptly(t, what, call)
		if answered && (!errors.Is(err, fault.PoolUnavailable) || !strings.Contains(fault.Text(err), "zpool status")) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if state := statusOf(t, d, "Pool Health"); state != zfs.PoolSuspended {
		t.Errorf("status says that the pool is %s", state)
	}
	err, answered := promptly(t, "open", func() error {
		_, err := Open(context.Background(), filepath.Join(plainDir(t), "home"), Options{Dataset: faultPool + "/unopened"})
		return err
	})
	if answered && !errors.Is(err, fault.PoolUnavailable) {
		t.Errorf("open: %v", err)
	}
	// The engine stops. A process that cannot end would keep it from that.
	if err, answered := promptly(t, "close", idle.Close); answered && err != nil {
		t.Errorf("close: %v", err)
	}

	resume()
	must(t, mount.Unmount(string(idle.home)))
	put(t, d, "used")
	if state := statusOf(t, d, "Pool Health"); state != "ONLINE" {
		t.Errorf("status says that the pool is %s", state)
	}
	create(t, d, "new", "base")
	change(t, d, "new", func(dir string) { write(t, dir+"/new", "new") })
	change(t, d, "limited", func(dir string) { write(t, dir+"/new", "new") })
	for _, id := range []string{"new", "used", "limited", "top"} {
		remove(t, d, id)
	}
	requireTidy(t, d, "base")
}

// TestADegradedPoolIsShown makes sure that a degraded pool is shown in Status and used.
func TestADegradedPoolIsShown(t *testing.T) {
	tmpfs := filePool(t, roomy, "mirror", "one", "two")
	d := faultStore(t, "layers")
	if state := statusOf(t, d, "Pool Health"); state != "ONLINE" {
		t.Errorf("status says that the pool is %s", state)
	}
	zpoolCommand(t, "offline", faultPool, filepath.Join(tmpfs, "two"))
	if state := statusOf(t, d, "Pool Health"); state != "DEGRADED" {
		t.Errorf("status says that the pool is %s", state)
	}
	limited(t, d, "box", "size=50M")
	change(t, d, "box", func(dir string) { write(t, dir+"/new", "new") })
	remove(t, d, "box")
	zpoolCommand(t, "online", faultPool, filepath.Join(tmpfs, "two"))
	if state := statusOf(t, d, "Pool Health"); state != "ONLINE" {
		t.Errorf("status says that the pool is %s", state)
	}
}

// requireReadOnly requires an error that says what is wrong and what to do.
func requireReadOnly(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, fault.ReadOnly) || !strings.Contains(fault.Text(err), "zfs get readonly") {
		t.Errorf("%s: %v (class %q)", what, err, fault.ClassOf(err))
	}
}

// TestAReadOnlyPoolIsTold imports a pool read-only, as after a failure to save its data.
func TestAReadOnlyPoolIsTold(t *testing.T) {
	tmpfs := filePool(t, roomy, "vdev")
	d := faultStore(t, "layers")
	home, name := string(d.home), d.dataset
	must(t, d.Close())
	zpoolCommand(t, "export", faultPool)
	zpoolCommand(t, "import", "-N", "-o", "readonly=on", "-o", "cachefile=none", "-d", tmpfs, faultPool)
	_, err := Open(context.Background(), home, Options{Dataset: name})
	requireReadOnly(t, "open", err)
	requireSource(t, home, "")
	zpoolCommand(t, "export", faultPool)
	zpoolCommand(t, "import", "-N", "-o", "cachefile=none", "-d", tmpfs, faultPool)
	o := testOptions
	o.Dataset = name
	again := openStoreIn(t, home, o)
	change(t, again, "top", func(dir string) { write(t, dir+"/new", "new") })
}

// TestADatasetThatBecomesReadOnlyIsTold makes sure that the calls of an open store report it.
func TestADatasetThatBecomesReadOnlyIsTold(t *testing.T) {
	ctx := context.Background()
	filePool(t, roomy, "vdev")
	d := faultStore(t, "layers")
	limited(t, d, "limited", "size=50M")
	limited(t, d, "used")
	get(t, d, "used")
	zfsCommand(t, "set", "readonly=on", d.dataset)
	changing := calls(d)
	for _, what := range []string{"create", "create limited", "get", "remove", "apply", "limit"} {
		requireReadOnly(t, what, changing[what]())
	}
	if !exists(t, d, "top") {
		t.Error("a layer is gone that could not be removed")
	}
	if _, err := d.DiffSize(ctx, "used", "base"); err != nil {
		t.Errorf("what only reads: %v", err)
	}
	statusOf(t, d, "Pool Health")
	zfsCommand(t, "inherit", "readonly", d.dataset)
	put(t, d, "used")
	for _, id := range []string{"limited", "used", "top"} {
		remove(t, d, id)
	}
	requireTidy(t, d, "base")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
}

// TestAFullPoolLetsLayersGo removes layers, limited ones too, and creates new ones afterwards.
func TestAFullPoolLetsLayersGo(t *testing.T) {
	ctx := context.Background()
	filePool(t, roomy, "vdev")
	d := faultStore(t, "layers")
	limited(t, d, "limited", "size=200M")
	limited(t, d, "used")
	other := get(t, d, "used")
	_, err := fillUp(t, get(t, d, "limited")+"/big")
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the pool: %v", err)
	}
	must(t, d.zfs.SyncPool(ctx, faultPool))
	if err := os.WriteFile(other+"/big", nil, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a file on a full pool: %v", err)
	}
	put(t, d, "used")
	put(t, d, "limited")
	changing := calls(d)
	for _, what := range []string{"create", "create limited"} {
		if err := changing[what](); !errors.Is(err, fault.NoSpace) || !strings.Contains(fault.Text(err), "zfs list -o space") {
			t.Errorf("%s: %v", what, err)
		}
	}
	remove(t, d, "used")
	remove(t, d, "limited")
	eventually(t, "there is room again", func() bool {
		must(t, d.zfs.SyncPool(ctx, faultPool))
		return d.Create(ctx, "again", "base", CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "10M"}}) == nil
	})
	change(t, d, "again", func(dir string) { write(t, dir+"/new", "new") })
	remove(t, d, "again")
	remove(t, d, "top")
	requireTidy(t, d, "base")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
}

const device = "/dev/zfs"

// withoutDevice removes the device node. The returned function restores it.
func withoutDevice(t *testing.T) (back func()) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(device, &st))
	must(t, os.Remove(device))
	back = func() {
		if _, err := os.Lstat(device); err == nil {
			return
		}
		must(t, unix.Mknod(device, st.Mode, int(st.Rdev)))
	}
	t.Cleanup(back)
	return back
}

// TestWithoutTheDeviceAStoreWorks makes sure that only limits and snapshots need /dev/zfs, and
// that the errors say so. It is long because each part continues with the previous one's store:
// before the device is gone, without it, and after it is back.
func TestWithoutTheDeviceAStoreWorks(t *testing.T) {
	ctx := context.Background()
	o := testOptions
	o.Dataset = dataset(t, "nodevice")
	home := filepath.Join(plainDir(t), "home")
	d := openStoreIn(t, home, o)
	create(t, d, "base", "")
	limited(t, d, "limited", "size=50M")
	change(t, d, "limited", func(dir string) { write(t, dir+"/mine", "mine") })
	must(t, d.Close())

	back := withoutDevice(t)
	for option, refused := range map[string]Options{
		"overlayzfs.quota=dataset": {Dataset: o.Dataset, Quota: "dataset"},
		"overlayzfs.sync=disabled": {Dataset: o.Dataset, Sync: "disabled"},
		"overlayzfs.snapshots":     {Dataset: o.Dataset, Snapshots: snapshot.Policy{snapshot.Stop: 1}},
	} {
		_, err := Open(ctx, home, refused)
		if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), device) {
			t.Errorf("%s: %v", option, err)
		}
		requireSource(t, home, "")
	}
	d, err := Open(ctx, home, o)
	must(t, err)
	create(t, d, "top", "base")
	apply(t, d, "top", "base", archive(t, "applied"))
	change(t, d, "top", func(dir string) { write(t, dir+"/new", "new") })
	readAll(t, d, "top", "base")
	if says := statusOf(t, d, "Quota"); !strings.HasPrefix(says, "off") || !strings.Contains(says, device) {
		t.Errorf("status says of limits: %s", says)
	}
	for what, call := range map[string]func() error{
		"a limited layer": func() error {
			return d.Create(ctx, "box", "base", CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "50M"}})
		},
		"a property": func() error {
			return d.Create(ctx, "box", "base", CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"sync": "always"}})
		},
		"a layer made limited": func() error { _, err := d.Get(ctx, "limited", ""); return err },
		"removing one":         func() error { return d.Remove(ctx, "limited") },
		"another limit":        func() error { return d.SetLimits(ctx, "limited", map[string]string{"size": "60M"}) },
	} {
		if err := call(); !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), device) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if data, err := d.Metadata(ctx, "limited"); err != nil || !strings.HasPrefix(data["Used"], "unknown: ") {
		t.Errorf("a limited layer: %v, %v", data, err)
	}
	remove(t, d, "top")
	requireTidyBut(t, d, "limited")
	must(t, d.Close())

	back()
	d = openStoreIn(t, home, o)
	change(t, d, "limited", func(dir string) {
		if raw, err := os.ReadFile(dir + "/mine"); err != nil || string(raw) != "mine" {
			t.Errorf("the limited layer holds %q, %v", raw, err)
		}
	})
	remove(t, d, "limited")
	requireTidy(t, d, "base")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
}

// requireTidyBut is requireTidy for a store that still has a limited layer.
func requireTidyBut(t *testing.T, d *Driver, id string) {
	t.Helper()
	if !exists(t, d, id) {
		t.Errorf("layer %s is gone", id)
	}
	if records := list(t, d.home.privatePath(limitsDir)); len(records) != 1 {
		t.Errorf("records of limits: %q", records)
	}
}
