//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/kerneltest"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// These tests change files of lower layers in mounted layers and look at how the kernel
// copies them up.

// isCopiedByRename changes a file and reports how overlayfs brought it into the upper
// directory: by a rename, or by the link of an O_TMPFILE file.
func isCopiedByRename(t *testing.T, upper, file string) bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, upper, unix.IN_CREATE|unix.IN_MOVED_TO)
	must(t, err)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, errors.Join(err, f.Close()))
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	must(t, err)
	if n < unix.SizeofInotifyEvent {
		t.Fatalf("an inotify event of %d bytes", n)
	}
	return buf[4]&unix.IN_MOVED_TO != 0 // the low byte of the mask
}

// expectRename expects no rename, whatever want is, of a kernel without permission events.
func expectRename(t *testing.T, d *Driver, id, dir string, want bool) {
	t.Helper()
	want = want && kerneltest.HasPermissionEvents(t)
	if got := isCopiedByRename(t, d.home.layer(id).diff(), filepath.Join(dir, "old")); got != want {
		t.Errorf("%s: copied up by a rename: %t", id, got)
	}
}

// putBase creates a layer "base" with the file that the tests change.
func putBase(t *testing.T, d *Driver) {
	t.Helper()
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "old"))
}

// The store is a directory on a dataset that others use, too.
func TestContainersAndStepsCopyUpByRename(t *testing.T) {
	d := openStore(t)
	putBase(t, d)
	for id, o := range map[string]CreateOptions{"box": {ReadWrite: true}, "step": {}} {
		must(t, d.Create(t.Context(), id, "base", o))
		for range 2 { // the kernel makes its work directory anew
			dir, err := d.Get(t.Context(), id, "")
			must(t, err)
			expectRename(t, d, id, dir, true)
			must(t, os.Remove(filepath.Join(d.home.layer(id).diff(), "old")))
			must(t, d.Put(t.Context(), id))
		}
	}
}

// The upper directory lies on another file system than the store.
func TestLimitedContainersCopyUpByRename(t *testing.T) {
	d := limitedStore(t, "renaming")
	limited(t, d, "box", "size=50M")
	expectRename(t, d, "box", get(t, d, "box"), true)
	must(t, d.Put(t.Context(), "box"))
	must(t, d.Remove(t.Context(), "box"))
}

func TestExternalMountsCopyUpByRename(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	putBase(t, d)
	mine(t, d, "1", "base", nil)
	mine(t, d, "limited", "base", map[string]string{"size": "50M"})
	var m Mount
	for _, id := range []string{"limited", "1"} {
		var err error
		m, err = d.WritableMount(t.Context(), id)
		must(t, err)
		for range 2 { // the mounter may use the answer twice
			m.Target = t.TempDir()
			must(t, m.Do())
			expectRename(t, d, id, m.Target, true)
			must(t, unix.Unmount(m.Target, 0))
			must(t, os.Remove(filepath.Join(d.home.layer(id).diff(), "old")))
		}
	}
	must(t, d.Remove(t.Context(), "limited"))
	commitOnce(t, d, "1")
	m.Target = t.TempDir()
	must(t, m.Do())
	expectRename(t, d, "1", m.Target, false)
	must(t, unix.Unmount(m.Target, 0))
}

// syncedTxg returns the last transaction group that is on disk.
func syncedTxg(t *testing.T, pool string) (last int) {
	t.Helper()
	text, err := os.ReadFile("/proc/spl/kstat/zfs/" + pool + "/txgs")
	must(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "C" { // committed
			continue
		}
		txg, err := strconv.Atoi(fields[0])
		must(t, err)
		last = max(last, txg)
	}
	return last
}

// setParam sets a parameter of the zfs module until the end of the test.
func setParam(t *testing.T, name, value string) {
	t.Helper()
	file := filepath.Join("/sys/module/zfs/parameters", name)
	before, err := zfs.ModuleParam(name)
	must(t, err)
	must(t, os.WriteFile(file, []byte(value), 0))
	t.Cleanup(func() { must(t, os.WriteFile(file, []byte(before), 0)) })
}

// Transaction groups end by themselves once an hour here, so that a copy-up that waits for
// one ends it. It waits for none where the kernel has permission events.
func TestCopyUpEndsNoTransactionGroup(t *testing.T) {
	setParam(t, "zfs_txg_timeout", "3600")
	d := openStore(t)
	putBase(t, d)
	must(t, d.Create(t.Context(), "box", "base", CreateOptions{ReadWrite: true}))
	dir, err := d.Get(t.Context(), "box", "")
	must(t, err)
	must(t, d.waitTxg(t.Context()))
	before := syncedTxg(t, d.pool())
	expectRename(t, d, "box", dir, true)
	fast := kerneltest.HasPermissionEvents(t)
	if after := syncedTxg(t, d.pool()); (after == before) != fast {
		t.Errorf("transaction group %d before the copy-up, %d after it", before, after)
	}
	must(t, d.Put(t.Context(), "box"))
	if d.copyUp.Took == 0 || fast && d.copyUp.Waits != nil || !fast && !errors.Is(d.copyUp.Waits, mount.ErrNoPermissionEvents) {
		t.Errorf("%+v", d.copyUp)
	}
}

// forbidFanotify makes the kernel refuse new listeners, as one without fanotify does.
func forbidFanotify(t *testing.T) {
	t.Helper()
	const file = "/proc/sys/fs/fanotify/max_user_groups"
	before, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("0"), 0))
	t.Cleanup(func() { must(t, os.WriteFile(file, before, 0)) })
}

func TestCopyUpsWaitWithoutFanotify(t *testing.T) {
	forbidFanotify(t)
	d := openStore(t)
	putBase(t, d)
	must(t, d.Create(t.Context(), "box", "base", CreateOptions{ReadWrite: true}))
	dir, err := d.Get(t.Context(), "box", "")
	must(t, err)
	expectRename(t, d, "box", dir, false)
	must(t, d.Put(t.Context(), "box"))
	stats, err := d.Stats()
	must(t, err)
	if stats.CopyUp.Waits == nil || stats.CopyUp.Took == 0 {
		t.Errorf("%+v", stats.CopyUp)
	}
	status, err := d.Status(context.Background())
	must(t, err)
	for _, line := range status {
		if line[0] == "Copy-up" && !strings.Contains(line[1], "waits for a transaction group (fanotify_init: ") {
			t.Error(line[1])
		}
	}
}

// A listener that ends while the store is open is told of wherever copy-ups are.
func TestCopyUpsOfNewMountsWaitWhenTheListenerHasEnded(t *testing.T) {
	if !kerneltest.HasPermissionEvents(t) {
		return // there is no listener, see TestCopyUpEndsNoTransactionGroup
	}
	d := openStore(t)
	putBase(t, d)
	must(t, d.Create(t.Context(), "box", "base", CreateOptions{ReadWrite: true}))
	must(t, d.tmpfiles.Close())
	dir, err := d.Get(t.Context(), "box", "")
	must(t, err)
	expectRename(t, d, "box", dir, false)
	must(t, d.Put(t.Context(), "box"))
	stats, err := d.Stats()
	must(t, err)
	if err := stats.CopyUp.Waits; err == nil || !strings.Contains(err.Error(), "the fanotify listener has ended: ") || stats.CopyUp.Took != 0 {
		t.Errorf("%+v", stats.CopyUp)
	}
	status, err := d.Status(t.Context())
	must(t, err)
	const want = "not measured for a file's first change in a container, which waits for a transaction group (the fanotify listener has ended: "
	if !slices.ContainsFunc(status, func(line [2]string) bool { return line[0] == "Copy-up" && strings.HasPrefix(line[1], want) }) {
		t.Errorf("%q", status)
	}
}

// The transaction groups of a frozen pool are not written. Only the intent log has what a
// container changed. A copy-up that waits for a group comes before: it would never end.
func TestCopiedUpFilesAreReplayedWhole(t *testing.T) {
	f := freezer(t, "sa")
	must(t, f.Create(t.Context(), "box", "base", CreateOptions{ReadWrite: true}))
	if kerneltest.HasPermissionEvents(t) {
		f.freeze(t)
	}
	box := get(t, f.Driver, "box")
	must(t, os.Chmod(filepath.Join(box, "below"), 0o600)) // a copy-up, too
	raw, err := os.OpenFile(filepath.Join(box, "dir/a"), os.O_WRONLY, 0)
	must(t, err)
	if !kerneltest.HasPermissionEvents(t) {
		f.freeze(t)
	}
	_, err = raw.WriteString("changed")
	// A replayed write has the time of the replay, unless a program set the file's.
	must(t, errors.Join(err, os.Chtimes(raw.Name(), time.Unix(2e9, 0), time.Unix(2e9, 0)), raw.Sync(), raw.Close()))
	must(t, f.Put(t.Context(), "box"))
	f.replays(t, "box")
}

// Where the intent log lacks extended attributes, a rename in it could be of a file without
// them.
func TestCopyUpsWaitWhereAttributesAreNotLogged(t *testing.T) {
	o := testOptions
	o.Dataset = dataset(t, "hidden", "xattr=dir")
	d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
	if err := d.copyUp.Waits; err == nil || !strings.Contains(err.Error(), "zfs set xattr=sa "+o.Dataset) {
		t.Errorf("xattr=dir: %v", err)
	}
	setParam(t, "zfs_zil_saxattr", "0")
	d = openStore(t)
	if err := d.copyUp.Waits; err == nil || !strings.Contains(err.Error(), "zilsaxattr") {
		t.Errorf("zfs_zil_saxattr=0: %v", err)
	}
}
