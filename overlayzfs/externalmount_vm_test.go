//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// These tests have external mounts.

func openOutside(t *testing.T, dir string) *Driver {
	t.Helper()
	return openStoreIn(t, dir, Options{Door: "test"})
}

func mine(t *testing.T, d *Driver, id, parent string, options map[string]string) {
	t.Helper()
	must(t, d.Create(t.Context(), id, parent, CreateOptions{ReadWrite: true, Exempt: options == nil, StorageOpt: options}))
}

// mountAt mounts as an external mounter does, by absolute paths.
func mountAt(t *testing.T, m Mount) string {
	t.Helper()
	dir := t.TempDir()
	m.Target = dir
	must(t, m.Do())
	t.Cleanup(func() {
		if err := mount.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func commitOnce(t *testing.T, d *Driver, id string) {
	t.Helper()
	noted := 0
	must(t, d.CommitLayer(t.Context(), id, false, func() error { noted++; return nil }))
	if noted != 1 {
		t.Errorf("noted %d times", noted)
	}
}

func TestMountsForSomebodyElse(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	m, err := d.WritableMount(t.Context(), "1")
	must(t, err)
	if m.Type != "bind" || m.Flags&unix.MS_RDONLY != 0 {
		t.Errorf("a base layer: %+v", m)
	}
	write(t, filepath.Join(m.Source, "a"), "1")
	commitOnce(t, d, "1")
	mine(t, d, "2", "1", nil)
	m, err = d.WritableMount(t.Context(), "2")
	must(t, err)
	top := mountAt(t, m)
	write(t, filepath.Join(top, "b"), "2")
	if got := list(t, top); len(got) != 2 {
		t.Errorf("it shows %q", got)
	}
	must(t, mount.Unmount(top))
	commitOnce(t, d, "2")
	m, err = d.ViewMount(t.Context(), "2")
	must(t, err)
	if view := mountAt(t, m); os.WriteFile(filepath.Join(view, "c"), nil, 0o600) == nil {
		t.Error("a view was written to")
	}
	if _, err := d.WritableMount(t.Context(), "1"); !errors.Is(err, fault.Busy) {
		t.Errorf("a layer with a child is mounted to be written to: %v", err)
	}
	if _, err := d.ViewMount(t.Context(), "3"); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestALimitedLayerStaysAttached(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	d := openOutside(t, home)
	mine(t, d, "1", "", nil)
	mine(t, d, "2", "1", map[string]string{"size": "50M"})
	m, err := d.WritableMount(t.Context(), "2")
	must(t, err)
	if !strings.Contains(m.Data(), "/2/upper/diff") || !strings.Contains(m.Data(), "xino=on") {
		t.Errorf("options %q", m.Data())
	}
	top := mountAt(t, m)
	d = crashTo(t, d, Options{Door: "test"})
	if attached, err := d.isInUse(d.home.layer("2")); err != nil || !attached {
		t.Errorf("attached after a restart: %t, %v", attached, err)
	}
	write(t, filepath.Join(top, "a"), "1")
	for name, err := range map[string]error{
		"seal": d.CommitLayer(t.Context(), "2", false, func() error { return nil }),
		"view": second(d.ViewMount(t.Context(), "2")),
	} {
		if !errors.Is(err, fault.Unsupported) {
			t.Errorf("%s of a limited layer: %v", name, err)
		}
	}
	must(t, mount.Unmount(top))
	remove(t, d, "2")
}

func TestWhetherALimitCanBeKept(t *testing.T) {
	for mode, want := range map[quota.Mode]bool{quota.Auto: true, quota.Off: false} {
		d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), Options{Door: "test", Quota: mode})
		if err := d.CheckLimits(); (err == nil) != want {
			t.Errorf("quota %s: %v", mode, err)
		}
	}
}

// TestTheOwnerOfALimitedLayerIsSynced is needed because the store's barriers commit the intent
// log of the store's dataset only.
func TestTheOwnerOfALimitedLayerIsSynced(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	mine(t, d, "2", "1", map[string]string{"size": "50M"})
	m, err := d.WritableMount(t.Context(), "2")
	must(t, err)
	key, err := readShortName(d.home.layer("2").dir())
	must(t, err)
	before, err := zfs.ObjsetKstat(d.pool(), d.dataset+"/"+key)
	must(t, err)
	must(t, d.Chown(t.Context(), "2", 12, 34))
	after, err := before.Refresh()
	must(t, err)
	if after.ZILCommits <= before.ZILCommits {
		t.Errorf("%d commits of its intent log, before %d", after.ZILCommits, before.ZILCommits)
	}
	top := mountAt(t, m)
	if uid, gid, err := ownerOf(top); err != nil || uid != 12 || gid != 34 {
		t.Errorf("its root belongs to %d:%d, %v", uid, gid, err)
	}
	must(t, mount.Unmount(top))
	remove(t, d, "2")
}

func second[T any](_ T, err error) error { return err }

func TestRebase(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	for _, id := range []string{"1", "2", "3"} {
		mine(t, d, id, "", nil)
		write(t, filepath.Join(d.home.layer(id).diff(), "of "+id), id)
	}
	for range 2 {
		must(t, d.Rebase(t.Context(), "2", "1"))
	}
	if err := d.Rebase(t.Context(), "2", "3"); !errors.Is(err, fault.Invalid) {
		t.Errorf("on another: %v", err)
	}
	must(t, d.Rebase(t.Context(), "3", "2"))
	m, err := d.ViewMount(t.Context(), "3")
	must(t, err)
	if got := list(t, mountAt(t, m)); len(got) != 3 {
		t.Errorf("it shows %q", got)
	}
}

func TestAFailedRecordStopsTheCommit(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	want := errors.New("as the test wants it")
	if err := d.CommitLayer(t.Context(), "1", true, func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.CommitLayer(ctx, "1", true, func() error { t.Error("noted, and nothing is on disk"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, errors.Join(d.CommitRecords(t.Context()), d.WaitTxg(t.Context()), d.WaitReaper(t.Context())))
}
