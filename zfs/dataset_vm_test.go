//go:build vm

package zfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

func TestTheModuleIsKnown(t *testing.T) {
	h := open(t)
	version, err := Version()
	check(t, err)
	if abi := h.ABI(); abi.Version != version || !abi.Known {
		t.Errorf("%+v, the module is %s", abi, version)
	}
}

// TestTheProbeSeesAnotherModule shows that each part of the probe can fail.
func TestTheProbeSeesAnotherModule(t *testing.T) {
	h := open(t)
	c := newCommand()
	c.setName(probeName)
	if got := h.ioctl(iocObjsetStats, c); got != unix.ENOENT {
		t.Errorf("a pool that is not there: %v", got)
	}
	if _, got := h.exchange(iocObjsetStats, c, nil, nil); got != unix.ENOENT {
		t.Errorf("no argument: %v", got)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	check(t, err)
	other := &Handle{file: null}
	defer other.Close()
	if _, err := other.checkABI(); !errors.Is(err, ErrUnknownABI) {
		t.Errorf("/dev/null passed for /dev/zfs: %v", err)
	}
}

// TestNameRules reads the rules that zfs(8) created datasets with, and creates one whose
// rules are not its parent's.
func TestNameRules(t *testing.T) {
	h := open(t)
	for option, want := range map[string]NameRules{
		"atime=off":                   {CaseSensitive: true},
		"normalization=formD":         {Normalized: true, UTF8Only: true, CaseSensitive: true},
		"utf8only=on":                 {UTF8Only: true, CaseSensitive: true},
		"casesensitivity=insensitive": {},
		"casesensitivity=mixed":       {},
	} {
		name := fresh(t, "-o", option)
		if got, err := h.NameRules(name); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", option, got, err, want)
		}
		child := name + "/child"
		check(t, h.CreateFilesystem(child, Properties{
			"mountpoint": String("none"), "normalization": String("none"), "utf8only": String("off"), "casesensitivity": String("sensitive"), "aclmode": String("discard"),
		}))
		if got, err := h.NameRules(child); err != nil || got != (NameRules{CaseSensitive: true}) {
			t.Errorf("below %s: %+v, %v", option, got, err)
		}
	}
	if _, err := h.NameRules("tank/nowhere"); !errors.Is(err, ErrNotExist) {
		t.Errorf("of no dataset: %v", err)
	}
}

func TestStatsAgreeWithTheCommand(t *testing.T) {
	h := open(t)
	name := fresh(t, "-o", "recordsize=64K", "-o", "sync=disabled", "-o", "refquota=50M", "-o", "quota=1G", "-o", "overlayzfs:test=a value")
	child := name + "/child"
	cli(t, "zfs", "create", "-o", "mountpoint=none", child)
	check(t, fill(mounted(t, name), "data", 3<<20))
	syncPool(t, h)
	cli(t, "zfs", "snapshot", name+"@snap")
	cli(t, "zfs", "clone", "-o", "mountpoint=none", name+"@snap", name+"/clone")
	cli(t, "zfs", "create", "-s", "-V", "8M", name+"/volume")
	syncPool(t, h)
	for _, dataset := range []string{name, child, name + "@snap", name + "/clone", name + "/volume", testPool(t)} {
		d, err := h.DatasetStats(dataset)
		check(t, err)
		compareStats(t, d)
	}
	d, err := h.DatasetStats(child)
	check(t, err)
	equal(t, "an inherited user property", d.UserProperties()["overlayzfs:test"], "a value")
	equal(t, "local", d.IsLocal("overlayzfs:test"), false)
	equal(t, "source", d.Properties["overlayzfs:test"].Source, name)
	equal(t, "recordsize, inherited", d.RecordSize(), 64<<10)
	equal(t, "refquota, not inherited", d.RefQuota(), 0)
}

// compareStats holds everything that zfs(8) says of a dataset against d.
func compareStats(t *testing.T, d Dataset) {
	t.Helper()
	want := map[string]string{}
	for _, line := range strings.Split(cli(t, "zfs", "get", "-Hp", "-o", "property,value", "all", d.Name), "\n") {
		property, value, _ := strings.Cut(line, "\t")
		want[property] = value
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	got := map[string]string{
		"type": string(d.Type), "guid": number(d.GUID), "createtxg": number(d.CreateTXG), "creation": number(uint64(d.Created().Unix())),
		"used": number(d.Used()), "available": number(d.Available()), "referenced": number(d.Referenced()), "origin": d.Origin,
		"logicalused": number(d.LogicalUsed()), "logicalreferenced": number(d.LogicalReferenced()), "written": number(d.Written()),
		"usedbychildren": number(d.UsedByChildren()), "usedbysnapshots": number(d.UsedBySnapshots()),
		"quota": number(d.Quota()), "refquota": number(d.RefQuota()), "recordsize": number(d.RecordSize()), "sync": d.Sync(),
		"mountpoint": d.Mountpoint(), "compressratio": fmt.Sprintf("%d.%02d", d.CompressRatio()/100, d.CompressRatio()%100),
		"readonly": map[bool]string{false: "off", true: "on"}[d.ReadOnly()],
	}
	for property, value := range got {
		if zfs, ok := want[property]; ok && zfs != value && (zfs != "-" || value != "" && value != "0") {
			t.Errorf("%s of %s: got %q, zfs(8) has %q", property, d.Name, value, zfs)
		}
	}
	t.Logf("%s: %d properties compared", d.Name, len(got))
}

func TestMissingDatasetsAreNotFound(t *testing.T) {
	h := open(t)
	name := unused(t)
	_, err := h.DatasetStats(name)
	wantError(t, err, ErrNotExist, fault.NotFound, unix.ENOENT)
	_, err = h.DatasetStats("nosuchpool/x")
	wantError(t, err, ErrNotExist)
	_, err = h.PoolStats("nosuchpool")
	wantError(t, err, ErrNotExist)
	wantError(t, h.SyncPool(context.Background(), "nosuchpool"), ErrNotExist)
	_, err = Collect(h.Children(name))
	wantError(t, err, ErrNotExist)
	_, err = Collect(h.Snapshots(name))
	wantError(t, err, ErrNotExist)
	wantError(t, h.Destroy(name), ErrNotExist)
	wantError(t, h.SetUint(name, "quota", 1), ErrNotExist)
	wantError(t, h.Inherit(name, "sync"), ErrNotExist)
	_, err = h.Projects(name)
	wantError(t, err, ErrNotExist)
	if there, err := h.Exists(name); there || err != nil {
		t.Error(there, err)
	}
	if there, err := h.Exists(testPool(t)); !there || err != nil {
		t.Error(there, err)
	}
	long := testPool(t) + "/" + strings.Repeat("x", 300)
	_, err = h.Exists(long)
	wantError(t, err, fault.Invalid)
	wantError(t, h.CreateFilesystem(long, nil), fault.Invalid)
	_, err = h.Exists(name + "@snap")
	check(t, err)
}

func TestCreateAndDestroy(t *testing.T) {
	h := open(t)
	name := unused(t)
	check(t, h.CreateFilesystem(name, Properties{"mountpoint": String("legacy"), "refquota": Uint(40 << 20), "sync": String("disabled"),
		"overlayzfs:layer": String("abc")}))
	equal(t, "refquota", get(t, name, "refquota"), "41943040")
	equal(t, "sync", get(t, name, "sync"), "disabled")
	equal(t, "mountpoint", get(t, name, "mountpoint"), "legacy")
	equal(t, "user property", get(t, name, "overlayzfs:layer"), "abc")
	equal(t, "mounted", get(t, name, "mounted"), "no")
	wantError(t, h.CreateFilesystem(name, nil), ErrExist, fault.Exists)
	wantError(t, h.CreateFilesystem(name+"/no/parent", nil), ErrNotExist)
	check(t, h.CreateFilesystem(name+"/plain", nil))

	wantError(t, h.CreateFilesystem(name+"/bad", Properties{"nosuchproperty": Uint(1)}), ErrInvalid)
	wantRefused(t, h.CreateFilesystem(name+"/bad", Properties{"copies": Uint(9)}))
	if there, err := h.Exists(name + "/bad"); there || err != nil {
		t.Error("a refused property left a dataset", there, err)
	}

	e := wantError(t, h.Destroy(name), ErrBusy)
	if !strings.Contains(e.Error(), "child") {
		t.Error(e)
	}
	check(t, h.Destroy(name+"/plain"))
	check(t, h.Destroy(name))
	wantError(t, h.Destroy(name), ErrNotExist)
}

func TestDestroyWaitsForUsers(t *testing.T) {
	h := open(t)
	name := fresh(t)
	dir, err := os.MkdirTemp("/run", "busy-")
	check(t, err)
	defer os.Remove(dir)
	check(t, MountDataset(name, dir))
	wantError(t, h.Destroy(name), ErrBusy, fault.Busy, unix.EBUSY)

	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	wantError(t, h.DestroyRetry(ctx, name), ErrBusy, context.DeadlineExceeded)
	if waited := time.Since(started); waited > 5*time.Second {
		t.Errorf("waited %v", waited)
	}

	// Detached, the file system lives until its file is closed.
	f, err := os.Create(filepath.Join(dir, "open"))
	check(t, err)
	check(t, mount.Detach(dir))
	go func() {
		time.Sleep(500 * time.Millisecond)
		f.Close()
	}()
	check(t, h.DestroyRetry(within(t, time.Minute), name))
	if there, err := h.Exists(name); there || err != nil {
		t.Error(there, err)
	}
}

func TestDestroyRetryDoesNotWaitForChildren(t *testing.T) {
	h := open(t)
	name := fresh(t)
	cli(t, "zfs", "create", name+"/child")
	wantError(t, h.DestroyRetry(within(t, time.Minute), name), ErrBusy, unix.EEXIST)
}

// otherWords are how zfs(8) prints what has two words.
var otherWords = map[string]string{"gzip-6": "gzip", "sa": "on"}

// fixedProperties are the properties that have words and do not change after the creation.
var fixedProperties = []string{"casesensitivity", "utf8only", "normalization"}

// createWith creates a dataset with each word of a property.
func createWith(t *testing.T, h *Handle, parent, property string, all []string) {
	t.Helper()
	for _, word := range all {
		child := parent + "/" + property + "-" + word
		check(t, h.CreateFilesystem(child, Properties{"mountpoint": String("none"), property: String(word)}))
		equal(t, property, get(t, child, property), word)
	}
}

func TestSetAndInherit(t *testing.T) {
	h := open(t)
	name := fresh(t)
	for property, all := range words {
		if slices.Contains(fixedProperties, property) {
			createWith(t, h, name, property, all)
			continue
		}
		for _, word := range all {
			if word == noWord {
				continue
			}
			check(t, h.SetString(name, property, word))
			if got := get(t, name, property); got != word && got != otherWords[word] {
				t.Errorf("%s was set to %s and is %s", property, word, got)
			}
		}
		if property == "canmount" {
			wantError(t, h.Inherit(name, property), ErrInvalid)
			continue
		}
		check(t, h.Inherit(name, property))
		if source := cli(t, "zfs", "get", "-H", "-o", "source", property, name); source == "local" {
			t.Errorf("%s is still local after Inherit", property)
		}
		check(t, h.Inherit(name, property))
	}
	check(t, h.SetProperty(name, Properties{"recordsize": Uint(1 << 20), "overlayzfs:a": String("ä b\tc"), "overlayzfs:b": String("")}))
	equal(t, "recordsize", get(t, name, "recordsize"), "1048576")
	d, err := h.DatasetStats(name)
	check(t, err)
	equal(t, "user property", d.UserProperties()["overlayzfs:a"], "ä b\tc")
	equal(t, "local", d.IsLocal("overlayzfs:a"), true)
	check(t, h.Inherit(name, "overlayzfs:a"))
	equal(t, "inherited user property", get(t, name, "overlayzfs:a"), "-")
	check(t, h.Inherit(name, "overlayzfs:never-set"))
	wantError(t, h.Inherit(name, "quota"), ErrInvalid)
	wantRefused(t, h.SetUint(name, "copies", 9))
	e := wantError(t, h.SetProperty(name, Properties{"nosuch": Uint(1), "overlayzfs:c": String("set")}), ErrInvalid)
	if len(e.Each) != 1 || e.Each[0].Name != "nosuch" {
		t.Errorf("Each is %v", e.Each)
	}
	check(t, h.SetProperty(name, nil))
}

func TestChildrenAgreeWithTheCommand(t *testing.T) {
	h := open(t)
	name := fresh(t)
	for i := range 12 {
		cli(t, "zfs", "create", "-o", "mountpoint=none", fmt.Sprintf("%s/c%d", name, i))
	}
	cli(t, "zfs", "create", "-o", "mountpoint=none", name+"/c1/below")
	cli(t, "zfs", "create", "-s", "-V", "8M", name+"/volume")
	cli(t, "zfs", "snapshot", name+"@no-child")
	want := strings.Split(cli(t, "zfs", "list", "-H", "-d", "1", "-t", "filesystem,volume", "-o", "name,guid,type", name), "\n")[1:]
	var got []string
	for d, err := range h.Children(name) {
		check(t, err)
		got = append(got, fmt.Sprintf("%s\t%d\t%s", d.Name, d.GUID, d.Type))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range h.Children(name) {
		break // must end here
	}
	none, err := Collect(h.Children(name + "/c2"))
	if len(none) != 0 || err != nil {
		t.Error(none, err)
	}
}

// TestAnswersThatDoNotFit has more properties than the first buffer holds;
// the lists' cursors must survive the second try.
func TestAnswersThatDoNotFit(t *testing.T) {
	h := open(t)
	name := fresh(t)
	large := Properties{}
	for i := range 8 {
		large[fmt.Sprintf("overlayzfs:large%d", i)] = String(strings.Repeat("x", 8000))
	}
	check(t, h.SetProperty(name, large))
	for i := range 3 {
		check(t, h.CreateFilesystem(fmt.Sprintf("%s/c%d", name, i), nil))
		check(t, h.Snapshot([]string{fmt.Sprintf("%s@s%d", name, i)}, map[string]string{"overlayzfs:n": strconv.Itoa(i)}))
	}
	d, err := h.DatasetStats(name)
	check(t, err)
	equal(t, "the last property", len(d.UserProperties()["overlayzfs:large7"]), 8000)
	children, err := Collect(h.Children(name))
	check(t, err)
	equal(t, "children", len(children), 3)
	snaps, err := Collect(h.Snapshots(name))
	check(t, err)
	equal(t, "snapshots", len(snaps), 3)
	for _, d := range append(children, snaps...) {
		equal(t, d.Name+"'s inherited property", len(d.UserProperties()["overlayzfs:large0"]), 8000)
	}
}

func TestOneHandleServesManyGoroutines(t *testing.T) {
	const workers, rounds = 16, 3
	h := open(t)
	name := fresh(t)
	dir := mounted(t, name)
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() { errs <- churn(h, name, dir, w, rounds) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		check(t, err)
	}
	left, err := Collect(h.Children(name))
	check(t, err)
	equal(t, "children left", len(left), 0)
}

// churn makes, asks and destroys, and checks that the answers are its own.
func churn(h *Handle, parent, dir string, worker, rounds int) error {
	for i := range rounds {
		name := fmt.Sprintf("%s/w%d-%d", parent, worker, i)
		quota := uint64(worker+1) << 20
		if err := h.CreateFilesystem(name, Properties{"refquota": Uint(quota), "mountpoint": String("none")}); err != nil {
			return err
		}
		if err := h.Snapshot([]string{name + "@s"}, nil); err != nil {
			return err
		}
		d, err := h.DatasetStats(name)
		if err != nil || d.RefQuota() != quota {
			return fmt.Errorf("refquota of %s is %d, want %d, %w", name, d.RefQuota(), quota, err)
		}
		if err := h.SetProjectQuota(parent, uint32(1000+worker), quota, 0); err != nil {
			return err
		}
		if usage, err := h.ProjectUsage(parent, uint32(1000+worker)); err != nil || usage.ByteLimit != quota {
			return fmt.Errorf("%+v, want a limit of %d, %w", usage, quota, err)
		}
		if _, err := Collect(h.Children(parent)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(worker)), []byte(name), 0o600); err != nil {
			return err
		}
		if err := errors.Join(h.DestroySnapshots([]string{name + "@s"}, false), h.Destroy(name)); err != nil {
			return err
		}
	}
	return nil
}

func TestCloseWhileInUse(t *testing.T) {
	h := open(t)
	pool := testPool(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if _, err := h.Exists(pool); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	check(t, h.Close())
	wg.Wait()
}
