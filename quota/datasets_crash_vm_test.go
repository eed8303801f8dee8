//go:build vm

package quota

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestACrashAtEachStepOfMake leaves the files and datasets of each step, and starts again.
func TestACrashAtEachStepOfMake(t *testing.T) {
	steps := []struct {
		name string
		do   func(s *store, layer Layer, r Record)
	}{
		{"nothing but a record being written", func(s *store, layer Layer, _ Record) {
			must(s.t, os.WriteFile(filepath.Join(s.records(), layer.Key+newSuffix), []byte("{"), 0o600))
		}},
		{"a record", func(s *store, layer Layer, r Record) { must(s.t, s.Limiter.records.save(layer.Key, r)) }},
		{"a dataset", func(s *store, layer Layer, r Record) { s.createChild(layer, r) }},
		{"record and dataset", func(s *store, layer Layer, r Record) {
			must(s.t, s.Limiter.records.save(layer.Key, r))
			s.createChild(layer, r)
		}},
		{"mounted and half filled", func(s *store, layer Layer, r Record) {
			must(s.t, s.Limiter.records.save(layer.Key, r))
			s.createChild(layer, r)
			upper := filepath.Join(layer.Dir, UpperName)
			must(s.t, os.MkdirAll(upper, 0o700))
			must(s.t, zfs.MountDataset(s.child(layer), upper))
			must(s.t, os.Mkdir(filepath.Join(upper, "diff"), 0o700))
		}},
		{"unmounted and half filled", func(s *store, layer Layer, r Record) {
			must(s.t, s.Limiter.records.save(layer.Key, r))
			upper := filepath.Join(layer.Dir, UpperName)
			must(s.t, os.MkdirAll(upper, 0o700))
			must(s.t, s.controllers[Dataset].(*datasets).createFilled(layer.Key, r, upper, func(dir string) error { return os.Mkdir(filepath.Join(dir, "diff"), 0o700) }))
		}},
		{"all but the layer's name", func(s *store, layer Layer, _ Record) {
			must(s.t, os.MkdirAll(layer.Dir, 0o700))
			must(s.t, s.Make(layer, "half", bytesOf(8*mib), makeContents))
		}},
	}
	s := newStore(t, Dataset)
	there := s.add("there", bytesOf(8*mib))
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			p := s.newLayer()
			step.do(s, p, Record{Layer: "half", Mode: Dataset, Limits: Limits{Bytes: 8 * mib}})
			s.restart(Dataset)
			s.wantChildren(there.Key)
			s.wantRecords(there.Key)
			must(t, os.RemoveAll(p.Dir))
		})
	}
	left, err := os.ReadDir(s.records())
	must(t, err)
	equal(t, "files among the records", len(left), 1)
	s.attach(there)
}

func (s *store) createChild(layer Layer, r Record) {
	s.t.Helper()
	properties, err := s.controllers[Dataset].(*datasets).properties(r)
	must(s.t, err)
	must(s.t, s.handle.CreateFilesystem(s.child(layer), properties))
}

// fillForeign writes to a dataset that is not ours.
func (s *store) fillForeign(name string) {
	s.t.Helper()
	dir := plainDir(s.t)
	must(s.t, zfs.MountDataset(s.dataset+"/"+name, dir))
	data := make([]byte, 2*mib)
	_, err := rand.Read(data)
	must(s.t, err)
	must(s.t, os.WriteFile(filepath.Join(dir, "file"), data, 0o600))
	must(s.t, mount.Unmount(dir))
}

// TestAnUnfinishedDatasetGoes is about a power cut after ZFS has made a dataset and before it sets
// the properties.
func TestAnUnfinishedDatasetGoes(t *testing.T) {
	s := newStore(t, Dataset)
	key := newKey()
	cli(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", "refquota=8M", s.dataset+"/"+key)
	must(t, s.Limiter.records.save(key, Record{Layer: "cut", Mode: Dataset, Limits: Limits{Bytes: 8 * mib}}))
	s.restart(Dataset)
	s.wantChildren()
	s.wantRecords()
}

// TestForeignDatasetsAreSpared makes child datasets that look like ours and are not.
func TestForeignDatasetsAreSpared(t *testing.T) {
	s := newStore(t, Dataset, "-o", LayerProperty+"=inherited by all", "-o", storeProperty+"="+testStore)
	inherits, unmarked, neighbour, named := newKey(), newKey(), newKey(), "backup"
	create := func(name string, options ...string) {
		cli(t, "zfs", append(append([]string{"create", "-o", "mountpoint=none"}, options...), s.dataset+"/"+name)...)
	}
	create(inherits)
	s.fillForeign(inherits) // an empty one could be one that we were making
	create(named, "-o", LayerProperty+"=some layer", "-o", storeProperty+"="+testStore)
	create(unmarked, "-o", LayerProperty+"=another", "-o", storeProperty+"="+testStore)
	create(neighbour, "-o", LayerProperty+"=another store's", "-o", storeProperty+"=NEIGHBOUR")
	// These are records of removed layers whose datasets' names others have taken.
	must(t, s.Limiter.records.save(inherits, Record{Layer: "gone", Mode: Dataset}))
	must(t, s.Limiter.records.save(unmarked, Record{Layer: "gone", Mode: Dataset}))
	s.restart(Dataset)
	s.wantRecords()
	s.wantChildren(inherits, neighbour, named) // the one that is marked, and no layer's, is swept up

	layer := Layer{Key: inherits, Dir: filepath.Join(s.stage(), inherits)}
	must(t, os.Mkdir(layer.Dir, 0o700))
	wantError(t, s.Make(layer, "clash", bytesOf(8*mib), makeContents), zfs.ErrExist)
	s.wantChildren(inherits, neighbour, named)
	s.wantRecords()
	wantError(t, s.Make(Layer{Key: "../x", Dir: layer.Dir}, "bad", bytesOf(8*mib), makeContents), fault.Invalid)
}

// TestMakeThatFailsLeavesNothing fails in the caller's part, and in ZFS's.
func TestMakeThatFailsLeavesNothing(t *testing.T) {
	s := newStore(t, Dataset)
	p := s.newLayer()
	must(t, os.Mkdir(p.Dir, 0o700))
	wantError(t, s.Make(p, "x", bytesOf(8*mib), func(string) error { return fault.Interrupted }), fault.Interrupted)
	left, err := os.ReadDir(p.Dir)
	must(t, err)
	equal(t, "left in the directory", len(left), 0)
	cli(t, "zfs", "set", "quota=1M", s.dataset)
	if err := s.Make(p, "x", bytesOf(8*mib), func(dir string) error {
		_, err := writeUntil(filepath.Join(dir, "file"), 8*mib, mib)
		return err
	}); err == nil {
		t.Error("no space, and made")
	}
	s.wantChildren()
	s.wantRecords()
}
