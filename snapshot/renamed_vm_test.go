//go:build vm

package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestDatasetsThatWereRenamed: a snapshot has the names of its moment.
func TestDatasetsThatWereRenamed(t *testing.T) {
	l := newLab(t)
	l.create(l.records+"/volumes", nil)
	l.writeAll("then", l.layers, l.records)
	name := l.take()
	backedUp, err := TakeManually(t.Context(), l.zfs, l.layers, l.records, func() ([]string, error) { return []string{l.records + "/volumes"}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PlanRollback(l.zfs, l.layers, name, Options{Records: "tank"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("with another dataset than that of the snapshot: %v", err)
	}
	after := lab{t, l.zfs, l.records + "-new", l.records + "-new/layers", l.state}
	l.zfsTool("rename", l.records, after.records)
	t.Cleanup(func() { l.zfsTool("rename", after.records, l.records) })
	after.requireAllKnown(name, backedUp)
	after.writeAll("later", after.layers, after.records)
	if NamesRecords(l.zfs, after.layers, name) {
		t.Error("it names a dataset that is not there")
	}
	after.wantRefused(name, Options{DestroyNewer: true}, "--records")
	after.back(name, Options{DestroyNewer: true, Records: after.records})
	after.wantAll("then", after.layers, after.records)
}

// TestAPoolThatWasRenamed is imported under another name.
func TestAPoolThatWasRenamed(t *testing.T) {
	l := newLab(t)
	file := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 128<<20)); err != nil {
		t.Fatal(err)
	}
	l.zpool("create", "-m", "none", "before", file)
	before := lab{t, l.zfs, "before/docker", "before/docker/layers", l.state}
	before.create(before.records, nil)
	before.create(before.layers, nil)
	limited := before.limited(1)
	before.writeAll("then", before.layers, before.records, limited)
	name := before.take()
	before.writeAll("later", before.layers, before.records, limited)
	l.zpool("export", "before")
	l.zpool("import", "-d", file, "before", "after")
	t.Cleanup(func() { l.zpool("destroy", "after") })
	after := lab{t, l.zfs, "after/docker", "after/docker/layers", l.state}
	after.requireAllKnown(name)
	after.back(name, Options{Records: after.records})
	after.wantAll("then", after.layers, after.records, after.layers+"/"+keyOf(limited))
}

// requireAllKnown fails the test unless the snapshots are listed with the records dataset, and
// the last is destroyed on all datasets, those of volumes too.
func (l lab) requireAllKnown(names ...string) {
	l.t.Helper()
	infos := l.list()
	for _, info := range infos {
		if !slices.Contains(info.Datasets, l.records) || !slices.Contains(names, info.Name) {
			l.t.Errorf("%+v", info)
		}
	}
	if len(infos) != len(names) {
		l.t.Fatalf("%d snapshots are known, want %q", len(infos), names)
	}
	if len(infos) < 2 {
		return
	}
	last := infos[len(infos)-1]
	if err := Destroy(l.zfs, l.layers, last); err != nil {
		l.t.Fatal(err)
	}
	for _, dataset := range []string{l.layers, l.records, l.records + "/volumes"} {
		if l.exists(snapshotName(dataset, last.Name)) {
			l.t.Errorf("%s has it still", dataset)
		}
	}
}

// TestRetentionAfterARename destroys what is too many of a snapshot's event on all datasets.
func TestRetentionAfterARename(t *testing.T) {
	l := newLab(t)
	k := l.startScheduler(Config{Policy: Policy{Stop: 1}})
	l.takeEvent(k, Stop)
	first := l.names()[0]
	if err := k.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	after := lab{t, l.zfs, l.records + "-new", l.records + "-new/layers", l.state}
	l.zfsTool("rename", l.records, after.records)
	t.Cleanup(func() { l.zfsTool("rename", after.records, l.records) })
	after.takeEvent(after.startScheduler(Config{Policy: Policy{Stop: 1}}), Stop)
	if names := after.names(); len(names) != 1 || names[0] == first {
		t.Errorf("snapshots: %q", names)
	}
	if left, err := zfs.Collect(l.zfs.SnapshotNames(after.records)); err != nil || len(left) != 1 {
		t.Errorf("of the records dataset: %+v, %v", left, err)
	}
}

// TestAPoolWithAnotherRoot is imported for a rescue, with all its mount points below a directory.
func TestAPoolWithAnotherRoot(t *testing.T) {
	l := newLab(t)
	file, root := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 128<<20)); err != nil {
		t.Fatal(err)
	}
	l.zpool("create", "-m", "none", "-R", root, "rescued", file)
	t.Cleanup(func() { l.zpool("destroy", "rescued") })
	rescued := lab{t, l.zfs, "rescued/docker", "rescued/docker/layers", l.state}
	l.zfsTool("create", "-o", "mountpoint=/var/lib/elsewhere", rescued.records)
	rescued.create(rescued.layers, nil)
	text := filepath.Join(root, "var/lib/elsewhere/text")
	if err := os.WriteFile(text, []byte("then"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := rescued.take()
	if err := os.WriteFile(text, []byte("later"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := rescued.plan(name, Options{})
	rescued.back(name, Options{})
	if raw, err := os.ReadFile(text); err != nil || string(raw) != "then" {
		t.Errorf("the records hold %q, %v", raw, err)
	}
	if missing, err := p.NotMounted(); err != nil || len(missing) > 0 {
		t.Errorf("not mounted: %v, %v", missing, err)
	}
	l.zfsTool("unmount", rescued.records)
	if missing, err := p.NotMounted(); err != nil || len(missing) != 1 || missing[0].Target != filepath.Dir(text) {
		t.Errorf("not mounted: %v, %v", missing, err)
	}
}
