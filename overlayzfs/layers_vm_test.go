//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

func TestLayersStack(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/etc/name", "base") })
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		raw, err := os.ReadFile(dir + "/etc/name")
		if err != nil || string(raw) != "base" {
			t.Errorf("the base shows %q, %v", raw, err)
		}
		write(t, dir+"/etc/name", "top")
	})
	if raw, err := os.ReadFile(d.home.layer("base").diff() + "/etc/name"); err != nil || string(raw) != "base" {
		t.Errorf("the base now holds %q, %v", raw, err)
	}
	remove(t, d, "top")
	remove(t, d, "base")
	requireTidy(t, d)
}

// TestTheNearestLayerIsShown replaces and deletes files that a layer further below has. A
// child shows what the nearest layer says of them, and so does a committed layer itself.
func TestTheNearestLayerIsShown(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/name", "base"); write(t, dir+"/deleted", "base") })
	create(t, d, "middle", "base")
	change(t, d, "middle", func(dir string) { write(t, dir+"/name", "middle"); must(t, os.Remove(dir+"/deleted")) })
	create(t, d, "top", "middle")
	create(t, d, "leaf", "top") // makes top read-only
	for _, id := range []string{"middle", "top", "leaf"} {
		change(t, d, id, func(dir string) {
			if raw, err := os.ReadFile(dir + "/name"); err != nil || string(raw) != "middle" {
				t.Errorf("%s shows %q, %v", id, raw, err)
			}
			if _, err := os.Lstat(dir + "/deleted"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s shows a file that the layer middle deleted: %v", id, err)
			}
		})
	}
	remove(t, d, "leaf")
	remove(t, d, "top")
	remove(t, d, "middle")
	remove(t, d, "base")
	requireTidy(t, d)
}

func TestCommittedLayersAreReadOnly(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "middle", "base")
	change(t, d, "middle", func(dir string) { write(t, dir+"/a", "a") })
	create(t, d, "top", "middle")
	change(t, d, "middle", func(dir string) {
		if err := os.WriteFile(dir+"/b", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing to a layer with a child: %v", err)
		}
	})
}

func TestDeepStacks(t *testing.T) {
	const depth = 400
	d := openStore(t)
	create(t, d, "L0", "")
	change(t, d, "L0", func(dir string) { write(t, dir+"/bottom", "seen") })
	for i := 1; i <= depth; i++ {
		create(t, d, fmt.Sprintf("L%d", i), fmt.Sprintf("L%d", i-1))
	}
	const onePage = 139 // the deepest layer whose options fit one page
	for _, i := range []int{1, 125, onePage - 1, onePage, onePage + 1, depth} {
		id := fmt.Sprintf("L%d", i)
		if i > onePage && !stacksBeyondAPage(t) {
			requireTooDeep(t, d, id)
			continue
		}
		change(t, d, id, func(dir string) {
			if raw, err := os.ReadFile(dir + "/bottom"); err != nil || string(raw) != "seen" {
				t.Errorf("from depth %d: %q, %v", i, raw, err)
			}
		})
	}
}

func stacksBeyondAPage(t *testing.T) bool {
	t.Helper()
	able, err := mount.HasLowerdirPlus()
	if err != nil {
		t.Fatal(err)
	}
	return able
}

// requireTooDeep requires that a kernel before 6.8 refuses to mount the layer, says so, and
// leaves nothing behind.
func requireTooDeep(t *testing.T, d *Driver, id string) {
	t.Helper()
	_, err := d.Get(t.Context(), id, "")
	if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "Linux 6.8 or later") {
		t.Errorf("mounting %s: %v", id, err)
	}
	requireMounted(t, d.home.layer(id).merged(), false)
}

func TestMoreLayersThanTheKernelStacksAreRefused(t *testing.T) {
	d := openStore(t)
	create(t, d, "L0", "")
	for i := 1; i <= mount.MaxLowers; i++ {
		create(t, d, fmt.Sprintf("L%d", i), fmt.Sprintf("L%d", i-1))
	}
	last := fmt.Sprintf("L%d", mount.MaxLowers)
	if stacksBeyondAPage(t) {
		change(t, d, last, func(string) {})
	} else {
		requireTooDeep(t, d, last)
	}
	if err := d.Create(context.Background(), "over", last, CreateOptions{}); !errors.Is(err, fault.LimitReached) {
		t.Errorf("layer %d: %v", mount.MaxLowers+1, err)
	}
	if exists(t, d, "over") {
		t.Error("the refused layer exists")
	}
}

func TestLongNamesAndColons(t *testing.T) {
	dir := t.TempDir()
	for range 8 {
		dir = filepath.Join(dir, strings.Repeat("long:", 40))
	}
	d := openStoreIn(t, dir+"/overlayzfs:latest", Options{})
	long := strings.Repeat("x", maxID)
	create(t, d, "base", "")
	create(t, d, long, "base")
	change(t, d, long, func(dir string) { write(t, dir+"/file", "x") })
	change(t, d, long, func(dir string) {
		if _, err := os.Stat(dir + "/file"); err != nil {
			t.Error(err)
		}
	})
	remove(t, d, long)
	requireTidy(t, d, "base")
}

func TestReferencesAreCounted(t *testing.T) {
	d, dir := mountedTop(t)
	if again := get(t, d, "top"); again != dir {
		t.Errorf("mounted on %q and %q", dir, again)
	}
	put(t, d, "top")
	requireMounted(t, dir, true)
	put(t, d, "top")
	requireMounted(t, dir, false)
	put(t, d, "top") // one too many
	put(t, d, "nobody")
	requireMounted(t, get(t, d, "top"), true)
	put(t, d, "top")
	requireMounted(t, dir, false)
}

func requireMounted(t *testing.T, dir string, want bool) {
	t.Helper()
	if got, err := mount.IsOverlay(dir); err != nil || got != want {
		t.Errorf("%s mounted: %v, %v, want %v", dir, got, err, want)
	}
}

func TestReferencesSurviveACrash(t *testing.T) {
	d, dir := mountedTop(t)
	write(t, dir+"/kept", "kept")
	d = crash(t, d)
	requireMounted(t, dir, true)
	get(t, d, "top") // somebody else comes and goes
	put(t, d, "top")
	requireMounted(t, dir, true)
	put(t, d, "top") // the one of before the crash
	requireMounted(t, dir, false)
	change(t, d, "top", func(dir string) {
		if _, err := os.Stat(dir + "/kept"); err != nil {
			t.Error(err)
		}
	})
}

func TestAMountThatVanishedIsMadeAgain(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/file", "x") })
	create(t, d, "top", "base")
	dir := get(t, d, "top")
	must(t, unix.Unmount(dir, 0))
	if _, err := os.Stat(get(t, d, "top") + "/file"); err != nil {
		t.Errorf("a layer that was unmounted behind our back shows nothing: %v", err)
	}
	put(t, d, "top")
	requireMounted(t, dir, false)
}

// TestTwoUsersSurviveACrash has a container and its commit share a mount. After a crash both
// still put it.
func TestTwoUsersSurviveACrash(t *testing.T) {
	d, dir := mountedTop(t)
	get(t, d, "top")
	d = crash(t, d)
	put(t, d, "top")
	requireMounted(t, dir, true)
	put(t, d, "top")
	requireMounted(t, dir, false)
}

func TestRemoveSparesWhatIsInUse(t *testing.T) {
	d, dir := mountedTop(t)
	write(t, dir+"/file", "x")
	f, err := os.Open(dir + "/file")
	must(t, err)
	if err := d.Remove(context.Background(), "top"); !errors.Is(err, fault.Busy) {
		t.Errorf("removing a layer with an open file: %v", err)
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Errorf("refused, and yet: %v", err)
	}
	must(t, f.Close())
	remove(t, d, "top") // never put, as BuildKit leaves it
	requireMounted(t, dir, false)
	remove(t, d, "base")
	requireTidy(t, d)
}

func TestRemoveOfWhatIsNotThereSucceeds(t *testing.T) {
	d := openStore(t)
	remove(t, d, "never")
	create(t, d, "once", "")
	remove(t, d, "once")
	remove(t, d, "once")
	requireTidy(t, d)
}

func TestPutOfABusyLayerDetaches(t *testing.T) {
	d, dir := mountedTop(t)
	write(t, dir+"/file", "x")
	f, err := os.Open(dir + "/file")
	must(t, err)
	defer f.Close()
	put(t, d, "top")
	requireMounted(t, dir, false)
	if _, err := f.Stat(); err != nil {
		t.Errorf("the file that was open: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	d := openStore(t)
	create(t, d, "there", "")
	tests := []struct {
		name, id, parent string
		class            fault.Class
	}{
		{"empty ID", "", "", fault.Invalid},
		{"dots", "..", "", fault.Invalid},
		{"path", "a/b", "", fault.Invalid},
		{"NUL", "a\x00b", "", fault.Invalid},
		{"overlong", strings.Repeat("a", 256), "", fault.Invalid},
		{"the links' directory", "l", "", fault.Invalid},
		{"our directory", ".overlayzfs", "", fault.Invalid},
		{"existing", "there", "", fault.Exists},
		{"missing parent", "new", "nobody", fault.NotFound},
		{"path as parent", "new", "../there", fault.Invalid},
		{"its own parent", "new", "new", fault.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := d.Create(context.Background(), tt.id, tt.parent, CreateOptions{})
			if !errors.Is(err, tt.class) {
				t.Errorf("%v, want class %q", err, tt.class)
			}
			requireTidyBesidesMarkers(t, d, "there")
		})
	}
}

// requireTidyBesidesMarkers is requireTidy for a store with a building layer.
func requireTidyBesidesMarkers(t *testing.T, d *Driver, building ...string) {
	t.Helper()
	if got := list(t, d.home.privatePath(buildingDir)); len(got) != len(building) {
		t.Errorf("building: %q, want %q", got, building)
	}
	if got := list(t, d.home.path(linkDir)); len(got) != len(building) {
		t.Errorf("%d short links for %d layers", len(got), len(building))
	}
}

func TestCallsOnWhatDoesNotExist(t *testing.T) {
	d := openStore(t)
	ctx := context.Background()
	calls := map[string]func(id string) error{
		"get":       func(id string) error { _, err := d.Get(ctx, id, ""); return err },
		"metadata":  func(id string) error { _, err := d.Metadata(ctx, id); return err },
		"changes":   func(id string) error { _, err := d.Changes(ctx, id, ""); return err },
		"diff size": func(id string) error { _, err := d.DiffSize(ctx, id, ""); return err },
		"diff":      func(id string) error { _, err := d.Diff(ctx, id, ""); return err },
		"apply":     func(id string) error { _, err := d.ApplyDiff(ctx, id, "", strings.NewReader("x")); return err },
	}
	for name, call := range calls {
		if err := call("nobody"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("%s of a missing layer: %v", name, err)
		}
		for _, id := range []string{"", "..", "a/b", "a\x00", strings.Repeat("a", 256)} {
			if err := call(id); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s of %.20q: %v", name, id, err)
			}
		}
	}
	for _, id := range []string{"", "..", "a/b"} {
		for name, err := range map[string]error{"put": d.Put(ctx, id), "remove": d.Remove(ctx, id)} {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%s of %q: %v", name, id, err)
			}
		}
	}
	if _, err := os.Stat(string(d.home)); err != nil {
		t.Errorf("the home: %v", err)
	}
}

func TestOwnersAreMapped(t *testing.T) {
	d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), Options{IDs: mapped(t)})
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "file"))
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		for _, path := range []string{dir, dir + "/file", d.home.layer("base").diff()} {
			var st unix.Stat_t
			must(t, unix.Lstat(path, &st))
			if st.Uid != 100000 || st.Gid != 100000 {
				t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
			}
		}
	})
}

// TestLayersHoldTheirFilesWhateverTheKernelsDefaults makes sure that redirect_dir=off switches
// metacopy off too. BuildKit does not know an option of metacopy's own.
func TestLayersHoldTheirFilesWhateverTheKernelsDefaults(t *testing.T) {
	for _, feature := range []string{"index", "redirect_dir", "metacopy"} {
		switchOn(t, "/sys/module/overlay/parameters/"+feature)
	}
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		write(t, dir+"/file", "content")
		must(t, os.MkdirAll(dir+"/dir/sub", 0o755))
	})
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		must(t, os.Chmod(dir+"/file", 0o600))
		if err := os.Rename(dir+"/dir", dir+"/renamed"); !errors.Is(err, unix.EXDEV) {
			t.Errorf("a directory of the layer below is renamed: %v", err)
		}
	})
	upper := d.home.layer("top").diff() + "/file"
	if raw, err := os.ReadFile(upper); err != nil || string(raw) != "content" {
		t.Errorf("the upper layer holds %q, %v", raw, err)
	}
	if _, err := unix.Lgetxattr(upper, "trusted.overlay.metacopy", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("its file is a metacopy: %v", err)
	}
}

// switchOn makes a feature the kernel's default, for one test.
func switchOn(t *testing.T, parameter string) {
	t.Helper()
	before, err := os.ReadFile(parameter)
	must(t, err)
	must(t, os.WriteFile(parameter, []byte("Y"), 0o644))
	t.Cleanup(func() { must(t, os.WriteFile(parameter, before, 0o644)) })
}

func TestMountLabelReachesTheKernel(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "top", "base")
	if _, err := d.Get(context.Background(), "top", `x",upperdir=/etc,y="`); !errors.Is(err, fault.UnsafeInput) {
		t.Errorf("a label that ends its quotes: %v", err)
	}
	const label = "system_u:object_r:container_file_t:s0:c1,c2"
	dir, err := d.Get(context.Background(), "top", label)
	if selinuxRuns() {
		must(t, err)
		requireLabel(t, dir, label)
		put(t, d, "top")
		return
	}
	// A kernel without SELinux does not know the option, so the label was passed on.
	var refused *mount.Error
	if !errors.As(err, &refused) || !strings.Contains(refused.Mount.Data(), `context="`+label+`"`) {
		t.Errorf("a label where SELinux is off: %v", err)
	}
	if _, err := os.Lstat(d.home.layer("top").merged()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed mount left its directory: %v", err)
	}
}

func selinuxRuns() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func requireLabel(t *testing.T, dir, label string) {
	t.Helper()
	infos, err := mount.ListAt(dir)
	must(t, err)
	if len(infos) == 0 || !strings.Contains(infos[0].VFSOptions, label) {
		t.Errorf("mounted without the label: %+v", infos)
	}
}

func TestMetadataAndStatus(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	create(t, d, "middle", "base")
	create(t, d, "top", "middle")
	data, err := d.Metadata(context.Background(), "top")
	must(t, err)
	lowers := d.home.layer("middle").diff() + ":" + d.home.layer("base").diff()
	if data["LowerDir"] != lowers || data["MergedDir"] != d.home.layer("top").merged() || data["Dataset"] == "" {
		t.Errorf("metadata: %v", data)
	}
	defer put(t, d, "top")
	get(t, d, "top")
	status, err := d.Status(context.Background())
	must(t, err)
	said := fmt.Sprint(status)
	for _, want := range []string{"[Backing Filesystem zfs]", "[Layers 3]", "[Mounts 1]", "[OpenZFS Version 2."} {
		if !strings.Contains(said, want) {
			t.Errorf("status %s lacks %s", said, want)
		}
	}
}
