//go:build vm

package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// sparingStore is a store that has made its spares.
func sparingStore(t *testing.T, spares int) *store {
	t.Helper()
	s := newStore(t, Dataset)
	s.spares = spares
	s.restart(Dataset)
	s.add("first", bytesOf(8*mib))
	s.waitSpares()
	return s
}

// waitSpares waits until the store has all its spares, and until each layer's dataset has its
// name.
func (s *store) waitSpares() {
	s.t.Helper()
	eventually(s.t, "all spares are made", func() bool {
		s.Limiter.spares.mu.Lock()
		ready := len(s.Limiter.spares.ready)
		s.Limiter.spares.mu.Unlock()
		return ready == s.spares && !s.isMaking() && s.countSpares() == s.spares
	})
}

func (s *store) isMaking() bool {
	s.Limiter.spares.mu.Lock()
	defer s.Limiter.spares.mu.Unlock()
	return s.Limiter.spares.making != nil
}

// addFromSpare makes a layer that has to take a spare.
func (s *store) addFromSpare(id string, spec Spec) Layer {
	s.t.Helper()
	key := s.TakeSpare(spec)
	if key == "" {
		s.t.Fatal("there is no spare")
	}
	p := Layer{Key: key, Dir: filepath.Join(s.stage(), key)}
	must(s.t, os.Mkdir(p.Dir, 0o710))
	must(s.t, s.Make(p, id, spec, makeContents))
	final := Layer{Key: key, Dir: filepath.Join(s.home, id)}
	must(s.t, os.Rename(p.Dir, final.Dir))
	s.live[key] = final
	return final
}

// countSpares counts the datasets that are marked as spares.
func (s *store) countSpares() (n int) {
	s.t.Helper()
	for child, err := range s.handle.Children(s.dataset) {
		must(s.t, err)
		if IsSpare(child) {
			n++
		}
	}
	return n
}

func TestASpareBecomesALayersDataset(t *testing.T) {
	s := sparingStore(t, 2)
	equal(t, "spares", s.countSpares(), 2)
	layers, err := s.Records()
	must(t, err)
	equal(t, "records of layers", len(layers), 1)
	equal(t, "staged", len(sorted(namesIn(t, s.stage()))), 0)

	for id, limit := range map[string]uint64{"same": 8 * mib, "other": 16 * mib, "unlimited": 0} {
		spec := Spec{Limits: Limits{Bytes: limit, Inodes: 1000}}
		layer := s.addFromSpare(id, spec)
		s.waitSpares()
		equal(t, "refquota", get(t, s.child(layer), "refquota"), fmt.Sprint(limit))
		equal(t, "layer", get(t, s.child(layer), LayerProperty), id)
		r, err := s.Find(layer.Key)
		must(t, err)
		equal(t, "record", fmt.Sprint(*r), fmt.Sprint(Record{Layer: id, Mode: Dataset, Limits: spec.Limits}))
		s.attach(layer)
		must(t, os.WriteFile(filepath.Join(layer.Dir, "diff/file"), make([]byte, mib), 0o600))
		must(t, os.Mkdir(filepath.Join(layer.Dir, "work/work"), 0o700))
		s.remove(layer)
		equal(t, "spares", s.countSpares(), 2)
	}
	equal(t, "a spare for properties", s.TakeSpare(Spec{Properties: Properties{"sync": "always"}}), "")
	equal(t, "a spare for no limit", s.TakeSpare(Spec{}), "")
	first := s.child(s.live[s.keyOf("first")])
	s.Close()
	eventually(t, "the spares are destroyed", func() bool { // Close does not wait for ever
		return len(s.children()) == 1 && len(namesIn(t, s.records())) == 1
	})
	s.wantChildren(filepath.Base(first))
	s.wantRecords(filepath.Base(first))
}

func (s *store) keyOf(id string) string {
	for key, layer := range s.live {
		if filepath.Base(layer.Dir) == id {
			return key
		}
	}
	s.t.Fatalf("no layer %s", id)
	return ""
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// TestASpareIsNotUsedBlindly takes spares that somebody destroyed, renamed or replaced.
func TestASpareIsNotUsedBlindly(t *testing.T) {
	s := sparingStore(t, 3)
	spec := bytesOf(8 * mib)
	for name, harm := range map[string]func(dataset string){
		"destroyed": func(dataset string) { cli(t, "zfs", "destroy", dataset) },
		"renamed":   func(dataset string) { cli(t, "zfs", "rename", dataset, s.dataset+"/elsewhere") },
	} {
		s.Limiter.spares.mu.Lock()
		next := s.Limiter.spares.ready[0]
		s.Limiter.spares.mu.Unlock()
		harm(s.dataset + "/" + next)
		layer := s.addFromSpare(name, spec)
		equal(t, "key", layer.Key, next)
		equal(t, "layer", get(t, s.child(layer), LayerProperty), name)
		s.attach(layer)
		must(t, os.WriteFile(filepath.Join(layer.Dir, "diff/file"), nil, 0o600))
		s.remove(layer)
		if name == "renamed" {
			cli(t, "zfs", "destroy", s.dataset+"/elsewhere")
		}
		s.waitSpares()
	}
	key := s.TakeSpare(spec)
	cli(t, "zfs", "destroy", s.dataset+"/"+key)
	cli(t, "zfs", "create", "-o", "mountpoint=none", s.dataset+"/"+key)
	s.fillForeign(key)
	p := Layer{Key: key, Dir: filepath.Join(s.stage(), key)}
	must(t, os.Mkdir(p.Dir, 0o710))
	wantError(t, s.Make(p, "replaced", spec, makeContents), zfs.ErrExist)
	must(t, os.RemoveAll(p.Dir))
	if _, err := s.handle.DatasetStats(s.dataset + "/" + key); err != nil {
		t.Errorf("somebody's dataset: %v", err)
	}
}

// TestSparesAreGoneAfterACrash ends a process at each step of a spare's life.
func TestSparesAreGoneAfterACrash(t *testing.T) {
	steps := []struct {
		name string
		do   func(s *store)
	}{
		{"ready", func(*store) {}},
		{"taken", func(s *store) { s.TakeSpare(bytesOf(8 * mib)) }},
		{"with the layer's record", func(s *store) {
			key := s.TakeSpare(bytesOf(8 * mib))
			must(s.t, s.Limiter.records.save(key, Record{Layer: "half", Mode: Dataset, Limits: Limits{Bytes: 8 * mib}}))
		}},
		{"with a snapshot", func(s *store) { cli(s.t, "zfs", "snapshot", "-r", s.dataset+"@all") }},
		{"a record and no dataset", func(s *store) {
			must(s.t, s.Limiter.records.save(newKey(), Record{Layer: SpareLayer, Mode: Dataset}))
		}},
		{"mounted and half filled", func(s *store) {
			key := newKey()
			r := Record{Layer: SpareLayer, Mode: Dataset, Limits: Limits{Bytes: 8 * mib}}
			must(s.t, s.Limiter.records.save(key, r))
			s.createChild(Layer{Key: key}, r)
			dir := filepath.Join(s.stage(), key)
			must(s.t, os.Mkdir(dir, 0o700))
			must(s.t, zfs.MountDataset(s.dataset+"/"+key, dir))
			must(s.t, os.Mkdir(filepath.Join(dir, "diff"), 0o700))
			s.t.Cleanup(func() { must(s.t, os.Remove(dir)) })
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			s := sparingStore(t, 2)
			step.do(s)
			first := s.keyOf("first")
			s.crash()
			s.open(Dataset)
			must(t, s.recoverAll())
			s.wantRecords(first)
			if step.name == "with a snapshot" {
				s.wantDatasets(first, 2)
				cli(t, "zfs", "destroy", "-r", s.dataset+"@all")
				must(t, s.Sweep(context.Background()))
			}
			s.wantDatasets(first, 0)
		})
	}
}

// wantDatasets requires one layer's dataset, and that many of removed layers and spares.
func (s *store) wantDatasets(key string, removed int) {
	s.t.Helper()
	live, gone, err := ListDatasets(s.handle, s.dataset)
	must(s.t, err)
	if len(live) != 1 || live[0].Name != s.dataset+"/"+key || len(gone) != removed {
		s.t.Errorf("live: %v, want %s; removed: %d, want %d", live, key, len(gone), removed)
	}
}

// crash forgets the Limiter's state as a killed process does.
func (s *store) crash() {
	old := s.Limiter
	old.spares.reset()
	old.Close()
}

// TestALayerHasItsNameAfterACrash ends the process before the dataset shows its layer.
func TestALayerHasItsNameAfterACrash(t *testing.T) {
	s := sparingStore(t, 1)
	layer := s.addFromSpare("named", bytesOf(8*mib))
	s.waitSpares()
	must(t, s.handle.SetString(s.child(layer), LayerProperty, SpareLayer))
	s.restart(Dataset)
	equal(t, "layer", get(t, s.child(layer), LayerProperty), "named")
	must(t, s.handle.SetString(s.child(layer), LayerProperty, SpareLayer))
	must(t, s.Sweep(context.Background()))
	s.remove(layer)
	s.wantChildren(s.keyOf("first"))
}

// TestASpareThatCannotBeMadeLeavesNothing fails in the caller's part.
func TestASpareThatCannotBeMadeLeavesNothing(t *testing.T) {
	s := newStore(t, Dataset)
	s.spares = 2
	s.restart(Dataset)
	made := false
	fill := func(dir string) error {
		if made {
			return errors.New("no spare")
		}
		made = true
		return makeContents(dir)
	}
	p := s.newLayer()
	must(t, os.Mkdir(p.Dir, 0o710))
	must(t, s.Make(p, "first", bytesOf(8*mib), fill))
	eventually(t, "no spare is made", func() bool { return !s.isMaking() })
	s.wantChildren(p.Key)
	s.wantRecords(p.Key)
	equal(t, "staged", fmt.Sprint(namesIn(t, s.stage())), fmt.Sprint([]string{p.Key}))
	mounts, err := mount.ListBelow(s.stage())
	must(t, err)
	equal(t, "mounts", len(mounts), 0)
	must(t, errors.Join(s.Discard(p.Key), os.RemoveAll(p.Dir)))
}

// TestABusyStoreMakesOneSpare at once, so that the next layer finds one, and the others later.
func TestABusyStoreMakesOneSpare(t *testing.T) {
	s := newStore(t, Dataset)
	s.spares = 3
	s.idleFor = func() time.Duration { return 0 }
	s.restart(Dataset)
	s.add("first", bytesOf(8*mib))
	ready := func() int {
		s.Limiter.spares.mu.Lock()
		defer s.Limiter.spares.mu.Unlock()
		return len(s.Limiter.spares.ready)
	}
	eventually(t, "a spare", func() bool { return ready() == 1 })
	s.addFromSpare("second", bytesOf(8*mib))
	eventually(t, "another spare", func() bool { return ready() == 1 })
	equal(t, "datasets beside the layers'", s.countChildren(), 3)
}

// countChildren counts the datasets of layers and the spares.
func (s *store) countChildren() int {
	s.t.Helper()
	children, err := zfs.Collect(s.handle.Children(s.dataset))
	must(s.t, err)
	return len(children)
}
