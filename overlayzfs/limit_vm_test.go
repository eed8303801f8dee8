//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

const mib = 1 << 20

// limitedStore makes a store on a dataset of its own, with a base layer to change.
func limitedStore(t *testing.T, name string) *Driver {
	t.Helper()
	o := testOptions
	o.Dataset = dataset(t, name)
	home := filepath.Join(plainDir(t), "home")
	d := openStoreIn(t, home, o)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) {
		write(t, dir+"/old", "old")
		write(t, dir+"/etc/conf", "old")
		write(t, dir+"/tree/a/b/c", "old")
		must(t, os.Symlink("old", dir+"/link"))
	})
	return d
}

func limited(t *testing.T, d *Driver, id string, options ...string) {
	t.Helper()
	must(t, d.Create(context.Background(), id, "base", CreateOptions{ReadWrite: true, StorageOpt: storageOpt(options)}))
}

func storageOpt(options []string) map[string]string {
	opt := map[string]string{}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		opt[key] = value
	}
	return opt
}

// children returns the datasets below the store's, without spares.
func children(t *testing.T, d *Driver) []string {
	t.Helper()
	must(t, errors.Join(d.WaitReaper(t.Context()), d.limits.DropSpares()))
	all, err := zfs.Collect(d.zfs.Children(d.dataset))
	must(t, err)
	var names []string
	for _, child := range all {
		names = append(names, child.Name)
	}
	return names
}

// fillUp writes random data until the layer is full, and returns how much it wrote.
func fillUp(t *testing.T, path string) (written int, err error) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	chunk := make([]byte, mib)
	rand.NewChaCha8([32]byte{}).Read(chunk)
	for written < 200*mib {
		n, err := f.Write(chunk)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func TestALimitedContainer(t *testing.T) {
	d := limitedStore(t, "limited")
	limited(t, d, "box", "size=50M")
	limited(t, d, "neighbour")
	box, neighbour := get(t, d, "box"), get(t, d, "neighbour")

	var st unix.Statfs_t
	must(t, unix.Statfs(box, &st))
	if total := st.Blocks * uint64(st.Bsize); total > 50*mib || total < 49*mib {
		t.Errorf("df shows %d bytes in a container of 50M", total)
	}
	// These are a user's changes in a container, on lower files.
	must(t, os.Remove(box+"/old"))
	must(t, os.RemoveAll(box+"/tree"))
	must(t, os.Symlink("new", box+"/link.new"))
	must(t, os.Rename(box+"/link.new", box+"/link"))
	must(t, os.Link(box+"/etc/conf", box+"/etc/conf2"))
	must(t, os.Mkdir(box+"/tree", 0o755))
	write(t, box+"/etc/conf", "new")

	written, err := fillUp(t, box+"/big")
	if !errors.Is(err, unix.EDQUOT) || written > 51*mib || written < 40*mib {
		t.Errorf("wrote %d bytes: %v; want about 50M and EDQUOT", written, err)
	}
	write(t, neighbour+"/fine", "fine")
	must(t, os.Remove(box+"/big"))

	if raw, err := os.ReadFile(box + "/etc/conf2"); err != nil || string(raw) != "new" {
		t.Errorf("a hard link that was copied up reads %q, %v", raw, err)
	}
	if entries := list(t, box+"/tree"); len(entries) > 0 {
		t.Errorf("a directory that was made anew shows %q", entries)
	}
	requireSameDevice(t, box)
	put(t, d, "neighbour")
	put(t, d, "box")
	requireAtRest(t, d, "box")
}

// requireSameDevice requires that lower and upper files seem to lie on one file system, because
// find -xdev, du and rm -r compare that.
func requireSameDevice(t *testing.T, dir string) {
	t.Helper()
	var root, lower, upper unix.Stat_t
	must(t, unix.Lstat(dir, &root))
	must(t, unix.Lstat(dir+"/etc", &lower))
	must(t, unix.Lstat(dir+"/etc/conf", &upper))
	if root.Dev != lower.Dev || root.Dev != upper.Dev {
		t.Errorf("st_dev of root, a directory and a changed file: %d, %d, %d", root.Dev, lower.Dev, upper.Dev)
	}
}

// requireAtRest requires that an unused limited layer is not mounted.
func requireAtRest(t *testing.T, d *Driver, id string) {
	t.Helper()
	infos, err := mount.ListAt(filepath.Join(d.home.layer(id).dir(), "upper"))
	must(t, err)
	if len(infos) > 0 {
		t.Errorf("%s is still mounted on %s", infos[0].Source, infos[0].Mountpoint)
	}
}

// TestALimitedContainerIsReadAtRest runs what commit, diff, ps -s and inspect do on a container
// that does not run. They leave it as it was.
func TestALimitedContainerIsReadAtRest(t *testing.T) {
	ctx := context.Background()
	d := limitedStore(t, "atrest")
	limited(t, d, "box", "size=50M", "inodes=1000", "recordsize=16K", "compression=zstd-7")
	change(t, d, "box", func(dir string) {
		write(t, dir+"/new", strings.Repeat("x", 5000))
		must(t, os.Remove(dir+"/old"))
	})
	if got := names(t, readAll(t, d, "box", "base")); !slices.Contains(got, "new") || !slices.Contains(got, ".wh.old") {
		t.Errorf("the diff holds %q", got)
	}
	size, err := d.DiffSize(ctx, "box", "base")
	must(t, err)
	if size < 5000 || size > 6000 {
		t.Errorf("the diff's size is %d", size)
	}
	changes, err := d.Changes(ctx, "box", "base")
	must(t, err)
	if len(changes) < 2 {
		t.Errorf("changes: %v", changes)
	}
	data, err := d.Metadata(ctx, "box")
	must(t, err)
	if data["Size"] != strconv.Itoa(50*mib) || data["Inodes"] != "1000" || data["Quota"] != "dataset" || data["recordsize"] != "16K" || data["Used"] == "" {
		t.Errorf("metadata: %v", data)
	}
	stats, err := d.zfs.DatasetStats(data["Dataset"])
	must(t, err)
	if stats.RefQuota() != 50*mib || stats.RecordSize() != 16<<10 {
		t.Errorf("refquota %d, recordsize %d", stats.RefQuota(), stats.RecordSize())
	}
	requireAtRest(t, d, "box")
	change(t, d, "box", func(dir string) {
		if raw, err := os.ReadFile(dir + "/new"); err != nil || len(raw) != 5000 {
			t.Errorf("the file has %d bytes, %v", len(raw), err)
		}
	})
	remove(t, d, "box")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
	requireTidy(t, d, "base")
}

func TestLimitsChange(t *testing.T) {
	ctx := context.Background()
	d := limitedStore(t, "changing")
	limited(t, d, "box", "size=50M")
	dir := get(t, d, "box")
	defer put(t, d, "box")
	must(t, d.SetLimits(ctx, "box", map[string]string{"size": "60M"}))
	written, err := fillUp(t, dir+"/big")
	if !errors.Is(err, unix.EDQUOT) || written < 52*mib || written > 61*mib {
		t.Errorf("wrote %d bytes of 60M: %v", written, err)
	}
	if err := d.SetLimits(ctx, "box", map[string]string{"size": "10M"}); !errors.Is(err, fault.LimitReached) || !strings.Contains(err.Error(), "holds") {
		t.Errorf("lowering the limit below what is there: %v", err)
	}
	must(t, os.Remove(dir+"/big"))
	must(t, d.zfs.SyncPool(ctx, d.pool()))
	must(t, d.SetLimits(ctx, "box", map[string]string{"size": "10M"}))
	if written, err := fillUp(t, dir+"/big"); !errors.Is(err, unix.EDQUOT) || written > 11*mib {
		t.Errorf("wrote %d bytes of 10M: %v", written, err)
	}
	if err := d.SetLimits(ctx, "nobody", nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("a limit for no layer: %v", err)
	}
}

func TestPresetLimits(t *testing.T) {
	d := limitedStore(t, "preset")
	d.preset = Limits{Bytes: 30 * mib}
	ctx := context.Background()
	must(t, d.Create(ctx, "image", "base", CreateOptions{}))
	must(t, d.Create(ctx, "box-init", "base", CreateOptions{ReadWrite: true, Exempt: true, StorageOpt: map[string]string{"size": "40M"}}))
	limited(t, d, "unlimited", "size=0")
	if made := children(t, d); len(made) > 0 {
		t.Errorf("layers without a limit have the datasets %q", made)
	}
	limited(t, d, "box")
	data, err := d.Metadata(ctx, "box")
	must(t, err)
	if data["Size"] != strconv.Itoa(30*mib) {
		t.Errorf("metadata: %v", data)
	}
	if err := d.Create(ctx, "bad-init", "base", CreateOptions{Exempt: true, StorageOpt: map[string]string{"size": "big"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a bad size for an exempt layer: %v", err)
	}
}

// TestInodeNumbersOfLimitedContainers: 32-bit programs without large-file support can read them
// where xino is off.
func TestInodeNumbersOfLimitedContainers(t *testing.T) {
	d := limitedStore(t, "xino")
	for i, c := range []struct {
		preset  string
		options []string
		plain   bool
	}{
		{"", []string{"size=50M"}, false},
		{"", []string{"size=50M", "xino=off"}, true},
		{"off", []string{"size=50M"}, true},
		{"off", []string{"size=50M", "xino=on"}, false},
		{"", []string{"xino=off"}, true}, // no dataset of its own
		{"", nil, true},
	} {
		d.xino = c.preset
		id := fmt.Sprintf("box%d", i)
		limited(t, d, id, c.options...)
		box := get(t, d, id)
		write(t, box+"/etc/conf", "new")
		if largest := findLargestInode(t, box); (largest < 1<<32) != c.plain {
			t.Errorf("default %q, options %q: an inode number is %d", c.preset, c.options, largest)
		}
		put(t, d, id)
		data, err := d.Metadata(t.Context(), id)
		must(t, err)
		if want := strings.Join(c.options, " "); data["xino"] != "" && !strings.Contains(want, "xino="+data["xino"]) {
			t.Errorf("options %q: metadata %v", c.options, data)
		}
	}
	if err := d.Create(t.Context(), "bad", "base", CreateOptions{ReadWrite: true, StorageOpt: storageOpt([]string{"xino=auto"})}); !errors.Is(err, fault.Invalid) {
		t.Errorf("xino=auto: %v", err)
	}
	if err := d.SetLimits(t.Context(), "box0", map[string]string{"xino": "off"}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a change of xino: %v", err)
	}
}

// findLargestInode returns the largest inode number below a directory.
func findLargestInode(t *testing.T, dir string) (largest uint64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		err = unix.Lstat(path, &st)
		largest = max(largest, st.Ino)
		return err
	}))
	return largest
}

// TestALimitedContainerOutlivesACrash crashes with a running container and with a stopped one.
func TestALimitedContainerOutlivesACrash(t *testing.T) {
	d := limitedStore(t, "crashing")
	limited(t, d, "running", "size=20M")
	limited(t, d, "resting", "size=50M")
	dir := get(t, d, "running")
	write(t, dir+"/before", "x")
	must(t, d.attach(d.home.layer("resting"))) // in the middle of a commit
	o := testOptions
	o.Dataset = d.dataset
	d = crashTo(t, d, o)
	requireAtRest(t, d, "resting")
	write(t, dir+"/after", "x")
	if written, err := fillUp(t, dir+"/big"); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("wrote %d bytes: %v", written, err)
	}
	put(t, d, "running")
	requireAtRest(t, d, "running")
	remove(t, d, "running")
	change(t, d, "resting", func(dir string) { write(t, dir+"/file", "x") })
	remove(t, d, "resting")
	requireTidy(t, d, "base")
	if left := children(t, d); len(left) > 0 {
		t.Errorf("datasets were left: %q", left)
	}
}

func TestUsesThatALimitedLayerRefuses(t *testing.T) {
	ctx := context.Background()
	d := limitedStore(t, "parent")
	limited(t, d, "box", "size=50M")
	size := map[string]string{"size": "50M"}
	if err := d.Create(ctx, "image", "base", CreateOptions{StorageOpt: size}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a limited image layer: %v", err)
	}
	if err := d.Create(ctx, "bottom", "", CreateOptions{ReadWrite: true, StorageOpt: size}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a limited layer on nothing: %v", err)
	}
	if err := d.Create(ctx, "child", "box", CreateOptions{}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a child of it: %v", err)
	}
	if _, err := d.ApplyDiff(ctx, "box", "base", strings.NewReader("")); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a diff for it: %v", err)
	}
}

func TestALostDatasetIsNamed(t *testing.T) {
	ctx := context.Background()
	d := limitedStore(t, "lost")
	limited(t, d, "box", "size=50M")
	child := children(t, d)[0]
	zfsCommand(t, "rename", child, d.dataset+"/elsewhere")
	if _, err := d.Get(ctx, "box", ""); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), child) {
		t.Errorf("its dataset was renamed: %v", err)
	}
	if _, err := os.Lstat(d.home.layer("box").merged()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mount point was left: %v", err)
	}
	if _, err := d.Metadata(ctx, "box"); err != nil {
		t.Errorf("inspect: %v", err)
	}
	zfsCommand(t, "rename", d.dataset+"/elsewhere", child)
	change(t, d, "box", func(string) {})
	must(t, d.WaitReaper(t.Context())) // for the end of the mount
	zfsCommand(t, "destroy", child)
	remove(t, d, "box")
	requireTidy(t, d, "base")
}

func TestLimitsCanBeOff(t *testing.T) {
	o := testOptions
	o.Quota = "off"
	d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), o)
	create(t, d, "base", "")
	err := d.Create(context.Background(), "box", "base", CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "50M"}})
	if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "overlayzfs.quota=off") {
		t.Errorf("a limit where none is wanted: %v", err)
	}
	if exists(t, d, "box") {
		t.Error("a refused layer exists")
	}
	o.Limits.Bytes = mib
	if _, err := Open(context.Background(), filepath.Join(t.TempDir(), "home"), o); !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "overlayzfs.size") {
		t.Errorf("a preset limit where none is wanted: %v", err)
	}
}

func TestSyncIsSetWhereItIsAsked(t *testing.T) {
	o := testOptions
	o.Dataset, o.Sync = dataset(t, "syncing"), "disabled"
	d := openStoreIn(t, filepath.Join(plainDir(t), "home"), o)
	stats, err := d.zfs.DatasetStats(o.Dataset)
	must(t, err)
	if stats.Sync() != "disabled" || !stats.IsLocal("sync") {
		t.Errorf("sync is %s", stats.Sync())
	}
	status, err := d.Status(context.Background())
	must(t, err)
	for _, line := range status {
		if line[0] == "Copy-up" && !strings.Contains(line[1], "ms") && !strings.Contains(line[1], "µs") {
			t.Errorf("the cost of a copy-up: %s", line[1])
		}
	}
	_, err = Open(context.Background(), filepath.Join(t.TempDir(), "home"), Options{Sync: "disabled"})
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "only a directory") {
		t.Errorf("a dataset that is not the store's alone: %v", err)
	}
}
