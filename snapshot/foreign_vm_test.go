//go:build vm

package snapshot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestABookmarkIsAnObstacle, on each dataset, until the operator allows to destroy it.
func TestABookmarkIsAnObstacle(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	l.writeAll("then", l.layers, l.records, limited)
	name := l.take()
	l.zfsTool("bookmark", snapshotName(l.layers, name), l.layers+"#same")
	for _, dataset := range []string{l.layers, l.records, limited} {
		l.writeAll("later", l.layers, l.records, limited)
		l.zfsTool("snapshot", snapshotName(dataset, "cursor"))
		l.zfsTool("bookmark", snapshotName(dataset, "cursor"), dataset+"#cursor")
		l.zfsTool("destroy", snapshotName(dataset, "cursor"))
		l.wantRefused(name, Options{}, "1 newer bookmarks", dataset+"#cursor", "--destroy-newer")
		l.wantAll("later", l.layers, l.records, limited)
		l.back(name, Options{DestroyNewer: true})
		l.wantAll("then", l.layers, l.records, limited)
	}
	if all, err := l.zfs.Bookmarks(l.layers); err != nil || len(all) != 1 {
		t.Errorf("a bookmark of the snapshot itself: %v, %v", all, err)
	}
}

// limitRecord writes the record of a limited layer into the layers dataset.
func (l lab) limitRecord(dataset string) {
	l.t.Helper()
	l.recordLimit(dataset, "x")
}

// recordLimit is limitRecord for a layer with an ID.
func (l lab) recordLimit(dataset, layer string) {
	l.t.Helper()
	l.mountDataset(l.layers, func(dir string) {
		limits := filepath.Join(dir, limitsDir)
		if err := os.MkdirAll(limits, 0o700); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(limits, keyOf(dataset)), []byte(`{"layer":"`+layer+`","mode":"dataset"}`), 0o600); err != nil {
			l.t.Fatal(err)
		}
	})
}

// TestBackToASnapshotOfOthers: as `zfs snapshot -r`, sanoid with recursive=zfs, and
// zfs-auto-snapshot take them.
func TestBackToASnapshotOfOthers(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	l.limitRecord(limited)
	all := []string{l.layers, l.records, limited}
	l.writeAll("then", all...)
	l.zfsTool("snapshot", "-r", snapshotName(l.records, "autosnap_2026-01-01_00:00:00_hourly"))
	l.writeAll("later", all...)
	later := l.limited(2)
	const name = "autosnap_2026-01-01_00:00:00_hourly"
	l.wantRefused(name, Options{}, "holds layers only", "--layers-only")
	l.wantRefused(name, Options{Records: "tank"}, "tank does not have snapshot", "--records")
	p := l.plan(name, Options{Records: l.records})
	if !strings.Contains(p.String(), "not taken by overlayzfs") {
		t.Errorf("the plan:\n%s", p)
	}
	// A second run knows the records dataset from the first.
	err := p.execute(t.Context(), func(step string) error {
		if strings.HasPrefix(step, "roll back "+l.records) {
			return errCrash
		}
		return nil
	})
	if !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	l.back(name, Options{})
	l.wantAll("then", all...)
	if l.exists(later) {
		t.Error("a limited layer made since is still there")
	}
	l.zfsTool("destroy", "-r", limited)
	l.wantRefused(name, Options{Records: l.records}, "1 of the 1", limited)
}

// TestSnapshotsOneByOneDoNotMatch: sanoid with recursive=yes takes one dataset after the other.
func TestSnapshotsOneByOneDoNotMatch(t *testing.T) {
	l := newLab(t)
	l.zfsTool("snapshot", snapshotName(l.layers, "hourly"))
	l.write(l.records, "in between")
	l.zfsTool("snapshot", snapshotName(l.records, "hourly"))
	l.wantRefused("hourly", Options{Records: l.records}, "not taken in one step")
	l.back("hourly", Options{LayersOnly: true})
}

// TestAReceivedStoreKnowsItsSnapshots: a stream with properties sets them as received, and each
// dataset has its own transaction groups.
func TestAReceivedStoreKnowsItsSnapshots(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	all := []string{l.layers, l.records, limited}
	l.writeAll("then", all...)
	first := l.take()
	l.writeAll("later", all...)
	second := l.take()
	l.zfsTool("bookmark", snapshotName(l.layers, second), l.layers+"#x")

	copied := lab{t, l.zfs, "tank/copy", "tank/copy/layers", t.TempDir()}
	l.receive(l.records, second, copied.records)
	t.Cleanup(func() { l.zfsTool("destroy", "-R", copied.records) })
	all = []string{copied.layers, copied.records, copied.layers + "/" + keyOf(limited)}
	if got := copied.names(); len(got) != 2 || got[0] != first || got[1] != second {
		t.Fatalf("snapshots of the copy: %v", got)
	}
	copied.wantAll("later", all...)
	copied.back(second, Options{Records: copied.records})
	copied.writeAll("here", all...)
	third := copied.limited(3)
	copied.wantRefused(first, Options{Records: copied.records}, "3 newer snapshots", "0 of them taken by others")
	copied.back(first, Options{Records: copied.records, DestroyNewer: true})
	copied.wantAll("then", all...)
	if copied.exists(third) {
		t.Error("a limited layer made since is still there")
	}
	copied.take()
	if got := copied.names(); len(got) != 2 || got[0] != first {
		t.Errorf("snapshots of the copy: %v", got)
	}

	// A rollback that was unfinished where the stream was made is unfinished here.
	l.zfsTool("set", rollbackProperty+"="+first, l.layers)
	l.receive(l.layers, second, "tank/copy/again")
	if to, err := PendingRollback(l.zfs, "tank/copy/again"); to != first || err != nil {
		t.Errorf("the property is %q, %v", to, err)
	}
	l.zfsTool("inherit", rollbackProperty, l.layers)
	again := lab{t, l.zfs, "tank/copy/again", "tank/copy/again", t.TempDir()}
	again.back(first, Options{LayersOnly: true, DestroyNewer: true})
}

// receive copies a dataset with its children and snapshots.
func (l lab) receive(dataset, name, to string) {
	l.t.Helper()
	out, err := exec.Command("sh", "-c", `zfs send -R "$0" | zfs receive -u "$1"`, snapshotName(dataset, name), to).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
}

// TestALockedDatasetIsRefused: it could not be mounted again.
func TestALockedDatasetIsRefused(t *testing.T) {
	l := newLab(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("a secret of overlayzfs"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := l.records + "/secret"
	l.zfsTool("create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "keylocation=file://"+key, "-o", "mountpoint=legacy", root)
	secret := lab{t, l.zfs, root, root + "/layers", t.TempDir()}
	secret.create(secret.layers, nil)
	secret.writeAll("then", secret.layers, secret.records)
	name := secret.take()
	secret.writeAll("later", secret.layers, secret.records)
	l.zfsTool("unload-key", root)
	secret.wantRefused(name, Options{}, "its key is not loaded", "zfs load-key "+root)
	l.zfsTool("load-key", root)
	secret.back(name, Options{})
	secret.wantAll("then", secret.layers, secret.records)
}
