//go:build vm

package snapshot

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestOneMoment makes sure that layers, limited layers and records have one snapshot of one
// transaction group. Datasets of others have none.
func TestOneMoment(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	l.create(l.layers+"/others", nil)
	l.create(l.layers+"/LAYER000000000000000000002", nil) // looks like ours, is not marked
	name := l.take()
	infos := l.list()
	if len(infos) != 1 || infos[0].Name != name || infos[0].Scope != ScopeRecords || infos[0].Event != Manual {
		t.Fatalf("list %+v", infos)
	}
	if want := []string{l.layers, limited, l.records}; !slices.Equal(infos[0].Datasets, want) {
		t.Errorf("datasets %v, want %v", infos[0].Datasets, want)
	}
	for _, dataset := range infos[0].Datasets {
		s, err := l.zfs.DatasetStats(snapshotName(dataset, name))
		if err != nil || s.CreateTXG != infos[0].CreateTXG || propertyText(s, limitedProperty) != "1 LAYER000000000000000000001" {
			t.Errorf("%s: %+v, %v", dataset, s, err)
		}
	}
	if l.exists(snapshotName(l.layers+"/others", name)) || l.exists(snapshotName(l.layers+"/LAYER000000000000000000002", name)) {
		t.Error("other people's datasets have a snapshot")
	}
}

// TestRetention keeps the newest by transaction group, on all datasets. It touches neither
// snapshots with a hold nor those of others.
func TestRetention(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	pruned := 0
	k := l.startScheduler(Config{Policy: Policy{Stop: 2, Start: 1}, AfterPrune: func() { pruned++ }})
	byHand := l.take()
	l.takeEvent(k, Stop)
	held := l.names()[1]
	if err := l.zfs.Hold(snapshotName(limited, held), "backup"); err != nil {
		t.Fatal(err)
	}
	foreign := []string{snapshotName(l.layers, "daily"), snapshotName(l.records, "overlayzfs-stop-20200101T000000Z-1")}
	if err := l.zfs.Snapshot(foreign, map[string]string{"others:event": "stop"}); err != nil {
		t.Fatal(err)
	}
	l.takeEvent(k, Start)
	for range 4 {
		l.takeEvent(k, Stop)
	}
	var events []Event
	for _, info := range l.list() {
		events = append(events, info.Event)
		if len(info.Datasets) != 3 {
			t.Errorf("%s is on %v", info.Name, info.Datasets)
		}
	}
	if want := []Event{Manual, Stop, Start, Stop, Stop}; !slices.Equal(events, want) {
		t.Errorf("left are %v, want %v", events, want)
	}
	names := l.names()
	if names[0] != byHand || names[1] != held || pruned != 2 {
		t.Errorf("left are %v, pruned %d times", names, pruned)
	}
	if infos := l.list(); len(infos[1].Holds) != 1 || infos[1].Holds[0] != (Hold{limited, "backup"}) {
		t.Errorf("holds %+v", infos[1].Holds)
	}
	for _, name := range foreign {
		if !l.exists(name) {
			t.Errorf("%s is gone", name)
		}
	}
	if got := k.Status(); len(got) != 1 || got[0][1] != "5 (start 1/1, stop 3/2)" {
		t.Errorf("status %v", got)
	}
	if err := l.zfs.Release(snapshotName(limited, held), "backup"); err != nil {
		t.Fatal(err)
	}
}

// TestACloneKeepsItsSnapshot makes sure that a clone is no failure.
func TestACloneKeepsItsSnapshot(t *testing.T) {
	l := newLab(t)
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}})
	l.takeEvent(k, Stop)
	cloned := l.names()[0]
	l.zfsTool("clone", "-o", "mountpoint=none", snapshotName(l.layers, cloned), l.records+"/clone")
	l.takeEvent(k, Stop)
	l.takeEvent(k, Stop)
	if names := l.names(); len(names) != 2 || names[0] != cloned {
		t.Errorf("left are %v", names)
	}
	l.zfsTool("destroy", l.records+"/clone")
}

// TestANameInTheWay makes sure that the next suffix is used.
func TestANameInTheWay(t *testing.T) {
	l := newLab(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, second := makeName(Stop, at, 1), makeName(Stop, at, 2)
	l.zfsTool("snapshot", snapshotName(l.layers, first))
	l.zfsTool("snapshot", snapshotName(l.records, second))
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}, Now: func() time.Time { return at }})
	l.takeEvent(k, Stop)
	l.takeEvent(k, Stop)
	if names := l.names(); len(names) != 1 || names[0] != makeName(Stop, at, 4) {
		t.Errorf("left are %v", names)
	}
	if !l.exists(snapshotName(l.layers, first)) || !l.exists(snapshotName(l.records, second)) {
		t.Error("what was in the way is gone")
	}
}

// TestForeignSnapshotsInThousands stay and cost little. Making them takes the time:
// OVERLAYZFS_FOREIGN_SNAPSHOTS=10000 makes more, in about six minutes on an emulated machine.
func TestForeignSnapshotsInThousands(t *testing.T) {
	l := newLab(t)
	const rounds = 25 // one dataset takes one snapshot a transaction group
	total, err := strconv.Atoi(cmp.Or(os.Getenv("OVERLAYZFS_FOREIGN_SNAPSHOTS"), "250"))
	if err != nil {
		t.Fatal(err)
	}
	datasets := []string{l.layers}
	for n := range total/rounds - 1 {
		datasets = append(datasets, fmt.Sprintf("%s/x%d", l.layers, n))
		l.create(datasets[n+1], nil)
	}
	for r := range rounds {
		if err := l.zfs.Snapshot(snapshotNames(datasets, fmt.Sprint("auto-", r)), nil); err != nil {
			t.Fatal(err)
		}
	}
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}})
	for range 3 {
		start := time.Now()
		l.takeEvent(k, Stop)
		t.Logf("one of ours taken among %d others in %v", total, time.Since(start))
	}
	if names := l.names(); len(names) != 1 {
		t.Errorf("ours are %v", names)
	}
	for _, dataset := range datasets {
		all, err := zfs.Collect(l.zfs.SnapshotNames(dataset))
		foreign := slices.DeleteFunc(all, func(s zfs.Dataset) bool { return strings.HasPrefix(baseName(s.Name), prefix) })
		if err != nil || len(foreign) != rounds {
			t.Errorf("%s has %d foreign snapshots, %v", dataset, len(foreign), err)
		}
	}
}

// TestTheClockIsSetBack by two days. The newest stays, and the next daily snapshot is taken at
// once and not again.
func TestTheClockIsSetBack(t *testing.T) {
	l := newLab(t)
	// The dataset has to be older than the time that the clock is set back to.
	before := time.Now()
	setClock(t, before.Add(5*24*time.Hour))
	defer func() { setClock(t, time.Now().Add(-3*24*time.Hour)) }()
	k := l.startScheduler(Config{Policy: Policy{Stop: 1, Daily: 2}})
	l.takeEvent(k, Stop)
	waitFor(t, func() bool { return strings.Contains(k.Status()[0][1], "daily 1/2") })
	setClock(t, time.Now().Add(-2*24*time.Hour))
	l.takeEvent(k, Stop)
	stops := filterEvent(l.list(), Stop)
	if len(stops) != 1 || time.Until(stops[0].Time) > 0 {
		t.Errorf("left are %+v", stops)
	}
	again := l.startScheduler(Config{Policy: Policy{Stop: 1, Daily: 2}})
	waitFor(t, func() bool { return strings.Contains(again.Status()[0][1], "daily 2/2") })
	third := l.startScheduler(Config{Policy: Policy{Stop: 1, Daily: 2}})
	waitFor(t, func() bool { return strings.Contains(third.Status()[0][1], "daily 2/2") })
	if n := len(filterEvent(l.list(), Daily)); n != 2 {
		t.Errorf("%d daily snapshots", n)
	}
}

func setClock(t *testing.T, to time.Time) {
	t.Helper()
	tv := unix.NsecToTimeval(to.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatal("waited for 30 s")
}

// TestEventsInTheBackground takes the first at once, and Close takes the snapshots that wait.
func TestEventsInTheBackground(t *testing.T) {
	l := newLab(t)
	k := l.startScheduler(Config{Policy: Policy{Committed: 2, Start: 1}})
	for range 50 {
		k.Notify(Committed)
	}
	k.Notify(Start)
	waitFor(t, func() bool { return len(l.names()) == 1 })
	if err := k.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if infos := l.list(); len(infos) != 2 || infos[1].Event != Committed {
		t.Errorf("taken are %+v", infos)
	}
}

func TestConfigIsChecked(t *testing.T) {
	l := newLab(t)
	policy := Policy{Stop: 1}
	for name, tt := range map[string]struct {
		c    Config
		want fault.Class
		word string
	}{
		"no such records": {Config{Layers: l.layers, Records: "tank/none"}, fault.NotFound, "findmnt"},
		"no such layers":  {Config{Layers: "tank/none"}, fault.NotFound, "tank/none"},
		"another pool":    {Config{Layers: l.layers, Records: "other/none"}, fault.Invalid, "not on the pool"},
		"a bad name":      {Config{Layers: l.layers, Records: "tank/@"}, fault.Invalid, "tank/@"},
	} {
		tt.c.ZFS, tt.c.Policy = l.zfs, policy
		_, err := New(tt.c)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// smallPool makes a pool on a file.
func smallPool(t *testing.T, name string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 128<<20); err != nil {
		t.Fatal(err)
	}
	zpool(t, "create", "-f", "-O", "mountpoint=none", name, file)
	// The kernel releases a refused request a moment later.
	t.Cleanup(func() {
		waitFor(t, func() bool { return exec.Command("zpool", "destroy", "-f", name).Run() == nil })
	})
	return file
}

func zpool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zpool", args...).CombinedOutput(); err != nil {
		t.Fatalf("zpool %v: %v\n%s", args, err, out)
	}
}

// TestAReadOnlyPool makes sure that the failure has a text, and that Status shows it.
func TestAReadOnlyPool(t *testing.T) {
	l := newLab(t)
	file := smallPool(t, "snapro")
	l.layers, l.records = "snapro/layers", ""
	l.create(l.layers, nil)
	zpool(t, "export", "snapro")
	zpool(t, "import", "-o", "readonly=on", "-d", file, "snapro")
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}})
	err := k.Take(context.Background(), Stop)
	if !errors.Is(err, fault.ReadOnly) {
		t.Errorf("Take: %v", err)
	}
	if got := k.Status(); len(got) != 2 || !strings.Contains(got[1][1], "read-only") {
		t.Errorf("status %v", got)
	}
}

// TestAFullPool makes sure that there is room for a snapshot, or Status says that there is none.
// No call hangs.
func TestAFullPool(t *testing.T) {
	l := newLab(t)
	smallPool(t, "snapfull")
	l.layers, l.records = "snapfull/layers", ""
	l.create(l.layers, nil)
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}})
	l.takeEvent(k, Stop)
	l.mountDataset(l.layers, func(dir string) {
		f, err := os.Create(filepath.Join(dir, "big"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		block := make([]byte, 1<<20)
		for err == nil {
			rand.Read(block) // compression is on
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	})
	err := k.Take(context.Background(), Stop)
	t.Logf("Take: %v; status %v", err, k.Status())
	if err != nil && !errors.Is(err, fault.NoSpace) {
		t.Errorf("Take: %v", err)
	}
	if (err != nil) != (len(k.Status()) == 2) {
		t.Errorf("status %v", k.Status())
	}
}
