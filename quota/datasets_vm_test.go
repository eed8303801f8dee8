//go:build vm

package quota

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

const mib = 1 << 20

func bytesOf(n uint64) Spec { return Spec{Limits: Limits{Bytes: n}} }

func TestALayersWholeLife(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("whole", bytesOf(64*mib))
	r, err := s.Find(layer.Key)
	must(t, err)
	equal(t, "record", fmt.Sprint(*r), fmt.Sprint(Record{Layer: "whole", Mode: Dataset, Limits: Limits{Bytes: 64 * mib}}))
	s.wantChildren(layer.Key)
	equal(t, "refquota", get(t, s.child(layer), "refquota"), fmt.Sprint(64*mib))
	equal(t, "property", get(t, s.child(layer), LayerProperty), "whole")
	equal(t, "mountpoint", get(t, s.child(layer), "mountpoint"), "legacy")
	equal(t, "mounted", get(t, s.child(layer), "mounted"), "no")

	s.attach(layer)
	must(t, s.Attach(layer)) // again
	must(t, os.WriteFile(filepath.Join(layer.Dir, "diff/file"), make([]byte, 5*mib), 0o600))
	must(t, os.Mkdir(filepath.Join(layer.Dir, "work/work"), 0o700))
	s.sync()
	used, err := s.Usage(layer)
	must(t, err)
	if used.Bytes < 5*mib || used.Bytes > 6*mib || used.Inodes < 5 || used.Inodes > 20 {
		t.Errorf("usage: %+v", used)
	}
	s.detach(layer)
	s.detach(layer) // again
	if _, err := os.Stat(filepath.Join(layer.Dir, "diff/file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("detached, and still there: %v", err)
	}
	idle, err := s.Usage(layer)
	must(t, err)
	equal(t, "bytes of an unmounted layer", idle.Bytes, used.Bytes)
	equal(t, "files of an unmounted layer: upper, diff, work, work/work, file", idle.Inodes, 5)
	s.attach(layer)
	if fi, err := os.Stat(filepath.Join(layer.Dir, "diff/file")); err != nil || fi.Size() != 5*mib {
		t.Errorf("attached again: %v, %v", fi, err)
	}
	s.remove(layer)
	s.wantChildren()
	s.wantRecords()
}

func TestPropertiesAreSet(t *testing.T) {
	s := newStore(t, Auto)
	for i, properties := range []Properties{
		{"recordsize": "16K", "compression": "zstd-7", "sync": "always", "logbias": "throughput", "primarycache": "metadata"},
		{"recordsize": "1M", "compression": "gzip-3", "sync": "disabled", "logbias": "latency", "primarycache": "none"},
		{"recordsize": "512", "compression": "zstd", "sync": "standard", "primarycache": "all"},
		{"compression": "off"}, {"compression": "on"}, {"compression": "lz4"}, {"compression": "zle"}, {"compression": "lzjb"},
		{"compression": "gzip"}, {"compression": "gzip-1"}, {"compression": "gzip-9"}, {"compression": "zstd-1"}, {"compression": "zstd-19"},
	} {
		layer := s.add(fmt.Sprint("layer", i), Spec{Properties: properties})
		for name, value := range properties {
			want := value
			if size, ok := encodeRecordSize(value); ok {
				want = fmt.Sprint(size)
			}
			equal(t, name, get(t, s.child(layer), name), want)
			equal(t, name+" comes from", cli(t, "zfs", "get", "-H", "-o", "source", name, s.child(layer)), "local")
		}
		s.attach(layer)
		if n, err := writeUntil(filepath.Join(layer.Dir, "diff/file"), 3*mib, mib); err != nil {
			t.Errorf("%v: wrote %d: %v", properties, n, err)
		}
		s.remove(layer)
	}
	s.wantChildren()
}

func TestALimitIsExact(t *testing.T) {
	s := newStore(t, Dataset)
	// Small: within 32 MiB of a refquota each block waits for a transaction group.
	for chunk, limit := range map[int]int{64 << 10: 4 * mib, 4 * mib: 12 * mib, 50 * mib: 20 * mib} {
		layer := s.add(fmt.Sprint("exact", chunk), bytesOf(uint64(limit)))
		s.attach(layer)
		n, err := writeUntil(filepath.Join(layer.Dir, "diff/file"), 2*limit, chunk)
		wantError(t, err, unix.EDQUOT)
		s.sync()
		used, look := s.Usage(layer)
		must(t, look)
		t.Logf("limit %d MiB, writes of %d KiB: EDQUOT after %.2f MiB, %.2f MiB used", limit/mib, chunk>>10, float64(n)/mib, float64(used.Bytes)/mib)
		if n < limit-mib || used.Bytes > uint64(limit)+mib/4 {
			t.Errorf("wrote %d, used %d", n, used.Bytes)
		}
		s.remove(layer)
	}
}

func TestALimitIsRaisedAndLowered(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("changing", bytesOf(8*mib))
	s.attach(layer)
	file := filepath.Join(layer.Dir, "diff/file")
	_, err := writeUntil(file, 20*mib, mib)
	wantError(t, err, unix.EDQUOT)
	must(t, s.SetLimits(layer, Limits{Bytes: 30 * mib}))
	if n, err := writeUntil(file, 20*mib, mib); err != nil {
		t.Errorf("after it was raised: %d, %v", n, err)
	}
	s.sync()
	err = s.SetLimits(layer, Limits{Bytes: 10 * mib})
	wantError(t, err, fault.LimitReached, "a limit of 10485760 bytes is below the", "delete files")
	wantError(t, s.SetLimits(layer, Limits{Bytes: 30 * mib, Inodes: 2}), fault.LimitReached, "2 files")
	equal(t, "refquota after a refusal", get(t, s.child(layer), "refquota"), fmt.Sprint(30*mib))
	r, err := s.Find(layer.Key)
	must(t, err)
	equal(t, "record after a refusal", r.Limits, Limits{Bytes: 30 * mib})
	must(t, s.SetLimits(layer, Limits{Bytes: 24 * mib}))
	equal(t, "refquota, lowered", get(t, s.child(layer), "refquota"), fmt.Sprint(24*mib))
	must(t, s.SetLimits(layer, Limits{}))
	equal(t, "refquota, none", get(t, s.child(layer), "refquota"), "0")
	wantError(t, s.SetLimits(s.newLayer(), Limits{Bytes: mib}), fault.Unsupported, "made without a limit")
}

// TestTheKernelsRefusalIsExplained lowers a limit below what the package knows of: its usage is as
// of the last transaction group.
func TestTheKernelsRefusalIsExplained(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("ahead", bytesOf(40*mib))
	s.attach(layer)
	if _, err := writeUntil(filepath.Join(layer.Dir, "diff/file"), 20*mib, mib); err != nil {
		t.Fatal(err)
	}
	s.sync()
	d := s.controllers[Dataset].(*datasets)
	r, err := s.Find(layer.Key)
	must(t, err)
	r.Bytes = 5 * mib
	err = d.set(layer, *r)
	wantError(t, err, fault.LimitReached, "a limit of 5242880 bytes is below the 2", "delete files")
}

func TestSomebodyMeddles(t *testing.T) {
	s := newStore(t, Dataset)
	t.Run("unmounted", func(t *testing.T) {
		layer := s.add("unmounted", bytesOf(8*mib))
		s.attach(layer)
		cli(t, "umount", filepath.Join(layer.Dir, UpperName))
		s.attach(layer)
		if err := os.WriteFile(filepath.Join(layer.Dir, "diff/file"), nil, 0o600); err != nil {
			t.Error(err)
		}
		s.remove(layer)
	})
	t.Run("something else mounted", func(t *testing.T) {
		layer := s.add("covered", bytesOf(8*mib))
		upper := filepath.Join(layer.Dir, UpperName)
		must(t, mount.Mount{Type: "tmpfs", Source: "stranger", Target: upper}.Do())
		wantError(t, s.Attach(layer), fault.Busy, `"stranger" (tmpfs)`, "unmount it", s.child(layer))
		wantError(t, s.Detach(layer), fault.Busy, "stranger")
		must(t, mount.Unmount(upper))
		s.attach(layer)
		must(t, mount.Mount{Type: "tmpfs", Source: "stranger", Target: upper}.Do())
		wantError(t, s.Attach(layer), fault.Busy, "stranger")
		wantError(t, s.Detach(layer), fault.Busy, "over dataset")
		must(t, mount.Unmount(upper))
		s.remove(layer)
	})
	t.Run("destroyed", func(t *testing.T) {
		layer := s.add("destroyed", bytesOf(8*mib))
		cli(t, "zfs", "destroy", s.child(layer))
		wantError(t, s.Attach(layer), fault.NotFound, "destroyed or renamed", s.child(layer))
		_, err := s.Usage(layer)
		wantError(t, err, fault.NotFound, "destroyed or renamed")
		wantError(t, s.SetLimits(layer, Limits{Bytes: 9 * mib}), fault.NotFound, "destroyed or renamed")
		must(t, s.recoverAll()) // the layer is there: its record stays
		s.wantRecords(layer.Key)
		s.remove(layer)
	})
	t.Run("renamed", func(t *testing.T) {
		layer := s.add("renamed", bytesOf(8*mib))
		other := s.dataset + "/elsewhere"
		cli(t, "zfs", "rename", s.child(layer), other)
		wantError(t, s.Attach(layer), fault.NotFound, "rename it back")
		must(t, s.recoverAll())
		cli(t, "zfs", "rename", other, s.child(layer))
		s.attach(layer)
		cli(t, "zfs", "rename", s.child(layer), other) // while it is mounted
		wantError(t, s.Attach(layer), fault.NotFound, "rename it back")
		s.detach(layer)
		must(t, s.Discard(layer.Key))
		s.wantChildren("elsewhere") // it is nobody's business of ours what is in there now
		cli(t, "zfs", "destroy", other)
		s.remove(layer)
	})
	s.wantChildren()
	s.wantRecords()
}

// TestABusyDatasetGoesWithItsLastUser keeps a file open after its layer was removed.
func TestABusyDatasetGoesWithItsLastUser(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("busy", bytesOf(8*mib))
	s.attach(layer)
	f, err := os.Create(filepath.Join(layer.Dir, "diff/file"))
	must(t, err)
	s.remove(layer)
	time.Sleep(300 * time.Millisecond)
	s.wantChildren(layer.Key)
	s.wantRecords(layer.Key)
	must(t, f.Close())
	eventually(t, "the dataset goes", func() bool { return len(s.children()) == 0 })
	eventually(t, "the record goes", func() bool { r, err := s.Find(layer.Key); return err == nil && r == nil })
}

// TestABusyDatasetGoesWithTheNextStart ends the process before the file is closed.
func TestABusyDatasetGoesWithTheNextStart(t *testing.T) {
	s := newStore(t, Dataset)
	layer := s.add("busy", bytesOf(8*mib))
	s.attach(layer)
	f, err := os.Create(filepath.Join(layer.Dir, "diff/file"))
	must(t, err)
	s.remove(layer)
	s.Close()
	must(t, f.Close())
	s.wantRecords(layer.Key)
	s.restart(Dataset)
	eventually(t, "the dataset goes", func() bool { return len(s.children()) == 0 })
	s.wantRecords()
}

func TestEightAtOnce(t *testing.T) {
	for _, mode := range []Mode{Dataset, Project} {
		t.Run(string(mode), func(t *testing.T) {
			s := newStore(t, mode)
			places := make([]Layer, 8)
			errs := make([]error, 8)
			begun := time.Now()
			var all sync.WaitGroup
			for i := range places {
				all.Go(func() { places[i], errs[i] = s.tryAdd(fmt.Sprint("layer", i), bytesOf(8*mib)) })
			}
			all.Wait()
			must(t, errors.Join(errs...))
			t.Logf("8 layers made at once in %v", time.Since(begun).Round(time.Millisecond))
			ids := map[uint32]bool{}
			for _, p := range places {
				r, err := s.Find(p.Key)
				must(t, err)
				ids[r.Project] = true
			}
			if mode == Project && len(ids) != 8 {
				t.Errorf("project IDs: %v", ids)
			}
			for _, p := range places {
				all.Go(func() { s.remove2(p) })
			}
			all.Wait()
			s.wantChildren()
			s.wantRecords()
		})
	}
}

// remove2 is remove for several layers at once.
func (s *store) remove2(layer Layer) {
	if err := errors.Join(s.Detach(layer), s.Discard(layer.Key), os.RemoveAll(layer.Dir)); err != nil {
		s.t.Error(err)
	}
}
