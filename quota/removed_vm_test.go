//go:build vm

package quota

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// removedKeys returns the keys of the removed layers whose datasets snapshots keep.
func (s *store) removedKeys() string {
	s.t.Helper()
	_, removed, err := ListDatasets(s.handle, s.dataset)
	must(s.t, err)
	var keys []string
	for _, d := range removed {
		keys = append(keys, strings.TrimPrefix(d.Name, s.dataset+"/"))
	}
	return strings.Join(keys, " ")
}

func (s *store) wantRemoved(want string) {
	s.t.Helper()
	if got := s.removedKeys(); got != want {
		s.t.Errorf("datasets of removed layers: %q, want %q", got, want)
	}
}

// TestASnapshotKeepsTheDataset, below the parent of removed layers, until the snapshot is
// destroyed and a sweep runs.
func TestASnapshotKeepsTheDataset(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("kept", bytesOf(8*mib))
	if got := cli(t, "zfs", "get", "-Ho", "value,source", "com.sun:auto-snapshot", s.child(layer)); got != "false\tlocal" {
		t.Errorf("com.sun:auto-snapshot of a new layer: %q", got)
	}
	cli(t, "zfs", "snapshot", s.child(layer)+"@before")
	s.remove(layer)
	s.wantRecords()
	s.wantChildren(RemovedParent)
	s.wantRemoved(RemovedParent + "/" + layer.Key)
	if got := cli(t, "zfs", "get", "-Ho", "value", "com.sun:auto-snapshot", s.dataset+"/"+RemovedParent); got != "false" {
		t.Errorf("com.sun:auto-snapshot of the parent: %q", got)
	}
	must(t, s.Sweep(context.Background()))
	s.wantRemoved(RemovedParent + "/" + layer.Key)
	cli(t, "zfs", "destroy", s.dataset+"/"+RemovedParent+"/"+layer.Key+"@before")
	must(t, s.Sweep(context.Background()))
	s.wantRemoved("")
	s.wantChildren(RemovedParent)
}

// TestLaterSnapshotsKeepNoDataset takes recursive snapshots as other programs do, before and
// after the removal. Those from before keep the dataset, and a hold on a later one does.
func TestLaterSnapshotsKeepNoDataset(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("kept", bytesOf(8*mib))
	cli(t, "zfs", "snapshot", "-r", s.dataset+"@one")
	cli(t, "zfs", "snapshot", "-r", s.dataset+"@two")
	s.remove(layer)
	moved := s.dataset + "/" + RemovedParent + "/" + layer.Key
	cli(t, "zfs", "snapshot", "-r", s.dataset+"@three")
	for _, older := range []string{"one", "two"} {
		must(t, s.Sweep(context.Background()))
		s.wantRemoved(RemovedParent + "/" + layer.Key)
		cli(t, "zfs", "destroy", "-r", s.dataset+"@"+older)
	}
	cli(t, "zfs", "hold", "keep", moved+"@three")
	must(t, s.Sweep(context.Background()))
	s.wantRemoved(RemovedParent + "/" + layer.Key)
	cli(t, "zfs", "release", "keep", moved+"@three")
	must(t, s.Sweep(context.Background()))
	s.wantRemoved("")
	cli(t, "zfs", "destroy", "-r", s.dataset+"@three")
}

// TestMarksThatSayNothing are of an earlier version, and of another pool. All snapshots that
// are there count as older.
func TestMarksThatSayNothing(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("kept", bytesOf(8*mib))
	cli(t, "zfs", "snapshot", s.child(layer)+"@before")
	s.remove(layer)
	moved := s.dataset + "/" + RemovedParent + "/" + layer.Key
	cli(t, "zfs", "rename", moved, s.child(layer))
	cli(t, "zfs", "set", RemovedProperty+"=on", s.child(layer))
	must(t, s.Sweep(context.Background()))
	s.wantRemoved(RemovedParent + "/" + layer.Key)

	// A stream brings the mark of its pool.
	cli(t, "zfs", "set", RemovedProperty+"=1", moved)
	cli(t, "sh", "-c", "zfs send -p "+moved+"@before | zfs receive -u "+s.dataset+"/copy")
	cli(t, "zfs", "destroy", "-r", moved)
	cli(t, "zfs", "rename", s.dataset+"/copy", moved)
	must(t, s.Sweep(context.Background()))
	s.wantRemoved(RemovedParent + "/" + layer.Key)
	cli(t, "zfs", "destroy", moved+"@before")
	must(t, s.Sweep(context.Background()))
	s.wantRemoved("")
}

// TestARemovedLayerIsNotMovedIntoAStrangersDataset: it stays where it was, and goes from there.
func TestARemovedLayerIsNotMovedIntoAStrangersDataset(t *testing.T) {
	s := newStore(t, Dataset)
	strangers := s.dataset + "/" + RemovedParent
	cli(t, "zfs", "create", strangers)
	layer := s.add("kept", bytesOf(8*mib))
	cli(t, "zfs", "snapshot", s.child(layer)+"@before")
	s.remove(layer)
	s.wantRemoved(layer.Key)
	cli(t, "zfs", "destroy", s.child(layer)+"@before")
	must(t, s.Sweep(context.Background()))
	s.wantChildren(RemovedParent)
	if there, err := s.handle.Exists(strangers); err != nil || !there {
		t.Errorf("the stranger's dataset is gone: %v", err)
	}
}

// TestTheLooksInTheBackground find out that a snapshot is gone.
func TestTheLooksInTheBackground(t *testing.T) {
	s := newStore(t, Dataset)
	for _, times := range [][2]time.Duration{{time.Millisecond, time.Hour}, {time.Millisecond, 0}} {
		layer := s.add("kept", bytesOf(8*mib))
		cli(t, "zfs", "snapshot", s.child(layer)+"@before")
		s.remove(layer)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.look(s.controllers[Dataset].(*datasets), times[0], times[1])
		}()
		cli(t, "zfs", "destroy", s.dataset+"/"+RemovedParent+"/"+layer.Key+"@before")
		eventually(t, "the dataset goes", func() bool { return s.removedKeys() == "" })
		s.stop()
		<-done
		s.restart(Dataset)
	}
}

// TestListDatasetsTellsOthersApart from layers: by name, by property, and by type.
func TestListDatasetsTellsOthersApart(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("one", bytesOf(8*mib))
	other := s.dataset + "/" + newKey()
	cli(t, "zfs", "create", "-o", "mountpoint=legacy", other)
	cli(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", LayerProperty+"=x", s.dataset+"/named")
	live, removed, err := ListDatasets(s.handle, s.dataset)
	must(t, err)
	if len(removed) > 0 || len(live) != 1 || live[0].Name != s.child(layer) {
		t.Errorf("live %v, removed %v", live, removed)
	}
	_, _, err = ListDatasets(s.handle, s.dataset+"/none")
	wantError(t, err, zfs.ErrNotExist)
	s.remove(layer)
}
