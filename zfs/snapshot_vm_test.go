//go:build vm

package zfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestSnapshotsOfSeveralDatasetsAreAllOrNone(t *testing.T) {
	h := open(t)
	name := fresh(t)
	var snaps []string
	for i := range 10 {
		child := fmt.Sprintf("%s/c%d", name, i)
		check(t, h.CreateFilesystem(child, nil))
		snaps = append(snaps, child+"@all")
	}
	check(t, h.Snapshot(snaps, map[string]string{"overlayzfs:why": "test"}))
	txg := get(t, snaps[0], "createtxg")
	for _, snap := range snaps {
		equal(t, snap, get(t, snap, "createtxg"), txg)
		equal(t, snap, get(t, snap, "overlayzfs:why"), "test")
	}

	// Two are there already: none is made, and the two are named.
	check(t, h.DestroySnapshots(snaps[2:], false))
	e := wantError(t, h.Snapshot(snaps, nil), ErrExist, fault.Exists)
	var refused []string
	for _, each := range e.Each {
		equal(t, each.Name, each.Errno, unix.EEXIST)
		refused = append(refused, each.Name)
	}
	slices.Sort(refused)
	if !slices.Equal(refused, snaps[:2]) {
		t.Errorf("refused were %q", refused)
	}
	if there, err := h.Exists(snaps[9]); there || err != nil {
		t.Error("a refused request made a snapshot", err)
	}
	wantError(t, h.Snapshot([]string{name + "/nosuch@s"}, nil), ErrNotExist)
	wantError(t, h.Snapshot([]string{name + "@s", "other@s"}, nil), ErrInvalid)
	wantError(t, h.Snapshot([]string{name + "@s", name + "@s"}, nil), ErrInvalid)
	wantRefused(t, h.Snapshot([]string{name + "@s1", name + "@s2"}, nil))
	wantError(t, h.Snapshot([]string{name + "@s"}, map[string]string{"quota": "1"}), ErrInvalid)
	wantError(t, h.Snapshot([]string{name + "@a b/c"}, nil), fault.Invalid)
	check(t, h.Snapshot(nil, nil))
	check(t, h.DestroySnapshots(nil, false))
}

func TestManySnapshots(t *testing.T) {
	const many = 310
	h := open(t)
	name := fresh(t)
	var snaps []string
	for i := range many {
		snap := fmt.Sprintf("%s@s%04d", name, i)
		snaps = append(snaps, snap)
		check(t, h.Snapshot([]string{snap}, nil))
	}
	started := time.Now()
	all, err := Collect(h.Snapshots(name))
	check(t, err)
	full := time.Since(started)
	names, err := Collect(h.SnapshotNames(name))
	check(t, err)
	t.Logf("%d snapshots: %v with properties, %v without", many, full, time.Since(started)-full)
	equal(t, "without properties", len(names), len(all))

	want := strings.Split(cli(t, "zfs", "list", "-Hp", "-t", "snapshot", "-o", "name,guid,createtxg,creation,used,referenced", name), "\n")
	var got []string
	for i, s := range all {
		got = append(got, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d", s.Name, s.GUID, s.CreateTXG, s.Created().Unix(), s.Used(), s.Referenced()))
		if s.Type != Snapshot || names[i].Name != s.Name || names[i].GUID != s.GUID || names[i].CreateTXG != s.CreateTXG {
			t.Errorf("%+v, %+v", s, names[i])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d listed, zfs(8) lists %d; first %q and %q", len(got), len(want), got[0], want[0])
	}

	check(t, h.DestroySnapshots(snaps, false))
	left, err := Collect(h.Snapshots(name))
	check(t, err)
	equal(t, "left", len(left), 0)
	check(t, h.DestroySnapshots(snaps[:2], false)) // missing ones are passed over
}

func TestHolds(t *testing.T) {
	h := open(t)
	name := fresh(t)
	snap, free := name+"@held", name+"@free"
	check(t, h.Snapshot([]string{snap}, nil))
	check(t, h.Snapshot([]string{free}, nil))
	before := time.Now().Add(-time.Minute)
	check(t, h.Hold(snap, "tag one"))
	wantError(t, h.Hold(snap, "tag one"), ErrExist)
	check(t, h.Hold(snap, "two"))
	holds, err := h.Holds(snap)
	check(t, err)
	if len(holds) != 2 || holds["tag one"].Before(before) || holds["two"].IsZero() {
		t.Errorf("%v", holds)
	}
	if out := cli(t, "zfs", "holds", "-H", snap); !strings.Contains(out, "tag one") || !strings.Contains(out, "two") {
		t.Errorf("zfs(8) says %q", out)
	}

	e := wantError(t, h.DestroySnapshots([]string{free, snap}, false), ErrBusy)
	if len(e.Each) != 1 || e.Each[0].Name != snap || e.Each[0].Errno != unix.EBUSY {
		t.Errorf("Each is %v", e.Each)
	}
	if there, err := h.Exists(free); !there || err != nil {
		t.Error("a refused request destroyed a snapshot", err)
	}
	wantError(t, h.Destroy(snap), ErrBusy)
	check(t, h.DestroySnapshots([]string{snap}, true))
	check(t, h.Release(snap, "tag one"))
	if there, err := h.Exists(snap); !there || err != nil {
		t.Error("it went with a hold on it", err)
	}
	check(t, h.Release(snap, "two"))
	if there, err := h.Exists(snap); there || err != nil {
		t.Error("it stayed without a hold", err)
	}
	wantError(t, h.Release(snap, "two"), ErrNotExist)
	wantError(t, h.Release(free, "none"), ErrNotExist)
	wantError(t, h.Hold(snap, "x"), ErrNotExist)
	wantError(t, h.Hold(free, ""), ErrInvalid)
	wantError(t, h.Hold(free, strings.Repeat("x", 300)), ErrInvalid)
	_, err = h.Holds(snap)
	wantError(t, err, ErrNotExist)
	none, err := h.Holds(free)
	if len(none) != 0 || err != nil {
		t.Error(none, err)
	}
}

func TestAClonedSnapshotIsBusy(t *testing.T) {
	h := open(t)
	name := fresh(t)
	snap := name + "@cloned"
	check(t, h.Snapshot([]string{snap}, nil))
	cli(t, "zfs", "clone", "-o", "mountpoint=none", snap, name+"/clone")
	wantError(t, h.DestroySnapshots([]string{snap}, false), ErrBusy)
	d, err := h.DatasetStats(snap)
	check(t, err)
	equal(t, "clones", d.Clones, 1)
}

func TestRollback(t *testing.T) {
	ctx := context.Background()
	h := open(t)
	name := fresh(t)
	dir := mounted(t, name)
	file := filepath.Join(dir, "file")
	for i, content := range []string{"one", "two"} {
		check(t, os.WriteFile(file, []byte(content), 0o600))
		check(t, h.Snapshot([]string{fmt.Sprintf("%s@%d", name, i+1)}, nil))
	}
	check(t, os.WriteFile(file, []byte("three"), 0o600))
	check(t, h.Rollback(ctx, name, name+"@2"))
	content, err := os.ReadFile(file)
	check(t, err)
	equal(t, "content", string(content), "two")
	wantError(t, h.Rollback(ctx, name, name+"@1"), ErrExist)
	wantError(t, h.Rollback(ctx, name, name+"@none"), ErrNotExist)
	wantError(t, h.Rollback(ctx, name, testPool(t)+"@none"), ErrNotExist)
	check(t, h.Destroy(name+"@2"))
	check(t, h.Rollback(ctx, name, name+"@1"))

	// Straight after the snapshot, while its transaction group is open.
	for i := range 10 {
		snap := fmt.Sprintf("%s@r%d", name, i)
		check(t, h.Snapshot([]string{snap}, nil))
		check(t, h.Rollback(ctx, name, snap))
	}
}

// TestClone makes what the command makes, and what is written to it is the clone's
// alone.
func TestClone(t *testing.T) {
	h := open(t)
	name := fresh(t)
	check(t, fill(mounted(t, name), "data", 1<<20))
	snap := name + "@of"
	check(t, h.Snapshot([]string{snap}, nil))
	clone := name + "/clone"
	check(t, h.Clone(snap, clone, Properties{"mountpoint": String("legacy"), "quota": Uint(64 << 20), "overlayzfs:test": String("x")}))
	for property, want := range map[string]string{"origin": snap, "mountpoint": "legacy", "quota": "67108864", "overlayzfs:test": "x"} {
		if got := cli(t, "zfs", "get", "-Hpo", "value", property, clone); got != want {
			t.Errorf("%s is %q, want %q", property, got, want)
		}
	}
	check(t, h.DestroySnapshots([]string{snap}, true))
	root, err := OpenDataset(clone)
	check(t, err)
	dir := fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	if fi, err := os.Stat(dir + "/data"); err != nil || fi.Size() != 1<<20 {
		t.Errorf("the clone shows %v, %v", fi, err)
	}
	check(t, errors.Join(os.WriteFile(dir+"/own", []byte("x"), 0o600), root.Close()))
	if _, err := os.Stat(mounted(t, name) + "/own"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was written to a clone: %v", err)
	}
	for err, want := range map[error]error{h.Clone(snap, clone, nil): ErrExist, h.Clone(name+"@none", name+"/other", nil): ErrNotExist} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	check(t, h.DestroyRetry(t.Context(), clone))
	if exists, err := h.Exists(snap); err != nil || exists {
		t.Errorf("the snapshot, to go with its last clone: %v, %v", exists, err)
	}
}

// TestSnapshotsOfOneDatasetAtOnce: the second of a transaction group waits for the
// next, and is no failure.
func TestSnapshotsOfOneDatasetAtOnce(t *testing.T) {
	h := open(t)
	name := fresh(t)
	var all errgroup.Group
	for i := range 20 {
		all.Go(func() error { return h.Snapshot([]string{fmt.Sprintf("%s@%d", name, i)}, nil) })
	}
	check(t, all.Wait())
	there, err := Collect(h.SnapshotNames(name))
	check(t, err)
	equal(t, name, len(there), 20)
}
