//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// dataset makes a dataset beside the dataset of TMPDIR.
func dataset(t *testing.T, name string, properties ...string) string {
	t.Helper()
	parent, err := zfs.DatasetOf(t.TempDir())
	must(t, err)
	full := strings.SplitN(parent, "/", 2)[0] + "/" + name
	args := []string{"create", "-o", "mountpoint=legacy"}
	for _, p := range properties {
		args = append(args, "-o", p)
	}
	zfsCommand(t, append(args, full)...)
	t.Cleanup(func() { zfsCommand(t, "destroy", "-r", full) })
	return full
}

func zfsCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("zfs %q: %v: %s", args, err, out)
	}
}

// plainDir makes a directory that is not on ZFS.
func plainDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "plain-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func unmountAfter(t *testing.T, dir string) {
	t.Cleanup(func() { must(t, mount.Unmount(dir)) })
}

func TestTheDriverMountsItsDataset(t *testing.T) {
	name := dataset(t, "mounted")
	home := filepath.Join(plainDir(t), "home")
	unmountAfter(t, home)
	open := func() *Driver {
		d, err := Open(context.Background(), home, Options{Dataset: name})
		must(t, err)
		return d
	}
	d := open()
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/file", "x") })
	create(t, d, "top", "base")
	infos, err := mount.ListAt(home)
	must(t, err)
	if len(infos) != 1 || infos[0].Source != name || !strings.Contains(infos[0].Options, "noatime") {
		t.Errorf("mounted: %+v", infos)
	}
	get(t, d, "top")
	must(t, d.Close()) // a layer is in use: the dataset stays
	requireSource(t, home, name)
	d = open()
	put(t, d, "top")
	must(t, d.Close()) // none is: the dataset goes
	requireSource(t, home, "")
	must(t, zfs.MountDataset(name, home)) // it is there already
	d = open()
	defer closeStore(t, d)
	if !exists(t, d, "base") {
		t.Error("the layer is gone")
	}
}

func requireSource(t *testing.T, dir, want string) {
	t.Helper()
	infos, err := mount.ListAt(dir)
	must(t, err)
	if want == "" && len(infos) > 0 || want != "" && (len(infos) != 1 || infos[0].Source != want) {
		t.Errorf("mounted on %s: %+v, want %q", dir, infos, want)
	}
}

// TestADatasetOfAnotherKindIsSpared opens a dataset that is not a store, because the option may
// name the wrong one.
func TestADatasetOfAnotherKindIsSpared(t *testing.T) {
	name := dataset(t, "users")
	look := plainDir(t)
	must(t, zfs.MountDataset(name, look))
	unmountAfter(t, look)
	must(t, os.Chmod(look, 0o755))
	write(t, look+"/alice/letter", "dear")
	home := plainDir(t)
	_, err := Open(context.Background(), home, Options{Dataset: name})
	if !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "alice") {
		t.Errorf("a dataset with something else in it: %v", err)
	}
	requireSource(t, home, "")
	fi, err := os.Stat(look)
	must(t, err)
	if got := list(t, look); len(got) != 1 || fi.Mode().Perm() != 0o755 {
		t.Errorf("it was changed: %q, mode %v", got, fi.Mode())
	}
}

// TestADatasetThatVanishesIsMissed detaches the home's mount, as an administrator can even while
// files in it are open.
func TestADatasetThatVanishesIsMissed(t *testing.T) {
	name := dataset(t, "vanishing")
	home := filepath.Join(plainDir(t), "home")
	d := openStoreIn(t, home, Options{Dataset: name})
	create(t, d, "base", "")
	ctx := context.Background()
	must(t, d.CheckHome(ctx))
	must(t, mount.Detach(home))
	calls := map[string]error{
		"create":  d.Create(ctx, "new", "", CreateOptions{}),
		"remove":  d.Remove(ctx, "base"),
		"present": d.CheckHome(ctx),
	}
	_, calls["get"] = d.Get(ctx, "base", "")
	_, calls["exists"] = d.Exists(ctx, "base")
	_, calls["diff"] = d.Diff(ctx, "base", "")
	_, calls["apply"] = d.ApplyDiff(ctx, "base", "", bytes.NewReader(archive(t, "a")))
	for call, err := range calls {
		if !errors.Is(err, fault.HomeGone) || !strings.Contains(err.Error(), "no longer mounted") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if left := list(t, home); len(left) > 0 {
		t.Errorf("made where the dataset was: %q", left)
	}
}

// TestAFailedOpenLeavesTheMountOfOthers makes sure that a failed Open unmounts only its own
// mount. Containers of an earlier process may use another one.
func TestAFailedOpenLeavesTheMountOfOthers(t *testing.T) {
	name := dataset(t, "others")
	home := filepath.Join(plainDir(t), "home")
	good := Options{Dataset: name, Door: "test"}
	bad := good
	bad.Quota, bad.Limits = "off", quota.Limits{Bytes: 1 << 30}
	fails := func(mounted int) {
		t.Helper()
		if d, err := Open(t.Context(), home, bad); err == nil {
			must(t, d.Close())
			t.Fatal("it opens")
		}
		infos, err := mount.ListAt(home)
		must(t, err)
		if len(infos) != mounted {
			t.Errorf("there are the mounts %v, want %d", infos, mounted)
		}
	}
	fails(0)
	d, err := Open(t.Context(), home, good)
	must(t, err)
	must(t, d.Close())
	fails(1)
	must(t, mount.Unmount(home))
}

func TestHomesThatAreRefused(t *testing.T) {
	insensitive := dataset(t, "insensitive", "casesensitivity=insensitive")
	utf8only := dataset(t, "utf8only", "utf8only=on")
	readonly := dataset(t, "readonly", "readonly=on")
	other := dataset(t, "other")

	taken := plainDir(t)
	must(t, zfs.MountDataset(other, taken))
	unmountAfter(t, taken)
	tmpfs := plainDir(t)
	must(t, unix.Mount("tmpfs", tmpfs, "tmpfs", 0, ""))
	unmountAfter(t, tmpfs)
	full := plainDir(t)
	write(t, full+"/somebody/else", "x")

	tests := []struct {
		name  string
		home  string
		o     Options
		class fault.Class
		says  string
	}{
		{"relative home", "home", Options{}, fault.Invalid, "absolute"},
		{"not on ZFS", plainDir(t), Options{}, fault.Unsupported, "overlayzfs.dataset=POOL/NAME"},
		{"missing dataset", plainDir(t), Options{Dataset: "tank/nowhere"}, fault.NotFound, "zfs create"},
		{"missing pool", plainDir(t), Options{Dataset: "nopool/x"}, fault.NotFound, "nopool/x"},
		{"another dataset is mounted there", taken, Options{Dataset: insensitive}, fault.Busy, other},
		{"another file system is mounted there", tmpfs, Options{Dataset: other}, fault.Busy, "tmpfs"},
		{"content would be hidden", full, Options{Dataset: other}, fault.Exists, "somebody"},
		{"wrong case sensitivity", plainDir(t), Options{Dataset: insensitive}, fault.Unsupported, "casesensitivity"},
		{"names must be UTF-8", plainDir(t), Options{Dataset: utf8only}, fault.Unsupported, "utf8only=off"},
		{"read-only", plainDir(t), Options{Dataset: readonly}, fault.ReadOnly, "read-only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Open(context.Background(), tt.home, tt.o)
			if err == nil {
				closeStore(t, d)
				t.Fatal("it was opened")
			}
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v\nwant class %q saying %q", err, tt.class, tt.says)
			}
			t.Log(fault.Text(err))
			if tt.home != taken && tt.home != tmpfs && filepath.IsAbs(tt.home) {
				requireSource(t, tt.home, "")
			}
		})
	}
	if _, err := os.Stat(full + "/somebody/else"); err != nil {
		t.Errorf("what was there: %v", err)
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	for content, class := range map[string]fault.Class{`{"version":2}`: fault.Unsupported, `{`: fault.Invalid} {
		dir := filepath.Join(t.TempDir(), "home")
		write(t, dir+"/"+privateDir+"/"+formatFile, content)
		if _, err := Open(context.Background(), dir, Options{}); !errors.Is(err, class) {
			t.Errorf("%s: %v", content, err)
		}
		if entries := list(t, dir); len(entries) != 1 {
			t.Errorf("a refused store was changed: %q", entries)
		}
	}
}

// TestAnOverlay2StoreIsTakenOver writes a store as overlay2 does.
func TestAnOverlay2StoreIsTakenOver(t *testing.T) {
	h := home(filepath.Join(t.TempDir(), "overlay2"))
	must(t, os.MkdirAll(h.path(linkDir), 0o700))
	for _, l := range []struct{ id, short, lower string }{{"below", shortA, ""}, {"above", shortB, "l/" + shortA}} {
		write(t, h.path(l.id, diffName, l.id), l.id)
		write(t, h.path(l.id, linkName), l.short)
		must(t, os.Symlink("../"+l.id+"/diff", h.path(linkDir, l.short)))
		if l.lower != "" {
			write(t, h.path(l.id, lowerName), l.lower)
			must(t, os.Mkdir(h.path(l.id, workName), 0o700))
		}
	}
	must(t, ensureFile(h.layer("below").committed()))
	d := openStoreIn(t, string(h), Options{})
	change(t, d, "above", func(dir string) {
		for _, name := range []string{"above", "below"} {
			if _, err := os.Stat(dir + "/" + name); err != nil {
				t.Error(err)
			}
		}
	})
	requireTidy(t, d, "above", "below")
}

// TestAFullPoolLeavesNoHalfLayer fills a dataset's quota. The kernel answers as for a full pool.
func TestAFullPoolLeavesNoHalfLayer(t *testing.T) {
	name := dataset(t, "small", "quota=12M", "compression=off")
	home := filepath.Join(plainDir(t), "home")
	unmountAfter(t, home)
	d := openStoreIn(t, home, Options{Dataset: name})
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "a"))
	create(t, d, "big", "base")
	_, err := d.ApplyDiff(context.Background(), "big", "base", bigArchive(24<<20))
	if class := fault.ClassOf(err); class != fault.LimitReached && class != fault.NoSpace {
		t.Errorf("more than there is room for: %v (class %q)", err, class)
	}
	if left := list(t, d.home.layer("big").diff()); len(left) > 0 {
		t.Errorf("half a layer remains: %q", left)
	}
	remove(t, d, "big")
	requireTidy(t, d, "base")
}

// TestAFullDatasetOpensAndLetsLayersGo removes layers to make room.
func TestAFullDatasetOpensAndLetsLayersGo(t *testing.T) {
	name := dataset(t, "full", "quota=8M", "compression=off")
	home := filepath.Join(plainDir(t), "home")
	d := openStoreIn(t, home, Options{Dataset: name})
	create(t, d, "base", "")
	create(t, d, "top", "base")
	change(t, d, "top", func(dir string) {
		if _, err := io.Copy(createFile(t, dir+"/filler"), rand.NewChaCha8([32]byte{})); !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("filling the dataset: %v", err)
		}
	})
	must(t, d.Close())
	again, err := Open(context.Background(), home, Options{Dataset: name})
	must(t, err)
	d.lock = again.lock // for the first store's cleanup
	remove(t, again, "top")
	requireTidy(t, again, "base")
}

func createFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// TestADatasetThatListsItsSnapshots has snapdir=visible, which pools often inherit.
func TestADatasetThatListsItsSnapshots(t *testing.T) {
	name := dataset(t, "visible", "snapdir=visible")
	d := openStoreIn(t, plainDir(t), Options{Dataset: name, MayResume: testOptions.MayResume})
	create(t, d, "base", "")
	if layers, err := d.Layers(t.Context()); err != nil || len(layers) != 1 {
		t.Errorf("it has layers %q, %v", layers, err)
	}
}
