//go:build vm

package snapshot

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestBackTwice rolls layers, limited layers and records back together, twice. Datasets of others
// stay.
func TestBackTwice(t *testing.T) {
	l := newLab(t)
	kept, others := l.limited(1), l.layers+"/others"
	l.create(others, nil)
	all := []string{l.records, l.layers, kept}
	l.writeAll("then", append(all, others)...)
	name := l.take()
	for range 2 {
		l.writeAll("later", append(all, others)...)
		later := l.limited(2)
		l.back(name, Options{})
		l.wantAll("then", all...)
		l.wantAll("later", others)
		if l.exists(later) {
			t.Error("a limited layer made since is still there")
		}
	}
	l.back(name, Options{})
	l.wantAll("then", all...)
}

// TestRemovedLimitedLayers is about a dataset that only snapshots keep. No new snapshot includes
// it. It does not hinder a rollback to a new snapshot, and a rollback to an old one brings it
// back.
func TestRemovedLimitedLayers(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	l.writeAll("then", l.layers, limited)
	old := l.take()
	l.writeAll("later", l.layers, limited)
	if err := l.zfs.SetString(limited, quota.RemovedProperty, "on"); err != nil {
		t.Fatal(err)
	}
	recent := l.take()
	if l.exists(snapshotName(limited, recent)) {
		t.Error("a removed layer's dataset is in a new snapshot")
	}
	// The driver moves it away.
	parent := l.layers + "/" + quota.RemovedParent
	l.create(parent, nil)
	moved := parent + "/" + keyOf(limited)
	l.zfsTool("rename", limited, moved)
	if infos := l.list(); len(infos) != 2 || len(infos[0].Datasets) != 3 || len(infos[1].Datasets) != 2 {
		t.Errorf("snapshots: %+v", infos)
	}
	l.write(l.layers, "last")
	l.back(recent, Options{})
	l.wantAll("later", l.layers, moved)
	l.back(old, Options{DestroyNewer: true})
	l.wantAll("then", l.layers, limited)
	if stats, err := l.zfs.DatasetStats(limited); err != nil || stats.IsLocal(quota.RemovedProperty) {
		t.Errorf("it is still removed, %v", err)
	}
}

// TestALimitBelowWhatComesBack makes sure that a container's lowered limit is raised, and that an
// administrator's limit is refused by name.
func TestALimitBelowWhatComesBack(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	l.mountDataset(limited, func(dir string) {
		block := make([]byte, 20<<20)
		rand.Read(block)
		if err := os.WriteFile(filepath.Join(dir, "big"), block, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	name := l.take()
	l.mountDataset(limited, func(dir string) { os.Remove(filepath.Join(dir, "big")) })
	if err := l.zfs.SyncPool(t.Context(), "tank"); err != nil {
		t.Fatal(err)
	}
	if err := l.zfs.SetUint(limited, "refquota", 10<<20); err != nil {
		t.Fatal(err)
	}
	l.back(name, Options{})
	s, err := l.zfs.DatasetStats(limited)
	if err != nil || s.Referenced() < 20<<20 || s.RefQuota() < s.Referenced() || s.RefQuota() > 21<<20 {
		t.Errorf("%d bytes came back, with a limit of %d, %v", s.Referenced(), s.RefQuota(), err)
	}

	l.mountDataset(l.layers, func(dir string) {
		block := make([]byte, 20<<20)
		rand.Read(block)
		if err := os.WriteFile(filepath.Join(dir, "big"), block, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	name = l.take()
	l.mountDataset(l.layers, func(dir string) { os.Remove(filepath.Join(dir, "big")) })
	if err := l.zfs.SyncPool(t.Context(), "tank"); err != nil {
		t.Fatal(err)
	}
	if err := l.zfs.SetUint(l.layers, "refquota", 10<<20); err != nil {
		t.Fatal(err)
	}
	l.wantRefused(name, Options{}, "zfs set refquota")
}

// wantRefused requires that a plan is refused with all of the words, and that trying it changes
// nothing.
func (l lab) wantRefused(name string, o Options, words ...string) {
	l.t.Helper()
	p := l.plan(name, o)
	err := p.Do(context.Background())
	if !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnfinished) {
		l.t.Errorf("not refused: %v\n%s", err, p)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			l.t.Errorf("%q is not in %v", word, err)
		}
	}
	if property, err := PendingRollback(l.zfs, l.layers); err != nil || property != "" {
		l.t.Errorf("a refused rollback left the property %q, %v", property, err)
	}
}

// TestNewerSnapshotsAreNotLostUnasked makes sure that others' snapshots are named, and that
// snapshots with a hold or a clone are never destroyed.
func TestNewerSnapshotsAreNotLostUnasked(t *testing.T) {
	l := newLab(t)
	l.writeAll("then", l.records, l.layers)
	name := l.take()
	l.writeAll("later", l.records, l.layers)
	newer := l.take()
	foreign := snapshotName(l.records, "foreign")
	l.zfsTool("snapshot", foreign)
	later := l.limited(3)
	l.zfsTool("snapshot", snapshotName(later, "foreign"))
	l.wantRefused(name, Options{}, "4 newer snapshots", "2 of them taken by others", foreign)
	l.zfsTool("hold", "keep", foreign)
	l.wantRefused(name, Options{DestroyNewer: true}, "zfs release keep "+foreign)
	l.zfsTool("release", "keep", foreign)
	l.zfsTool("clone", "-o", "mountpoint=none", foreign, "tank/clone")
	l.wantRefused(name, Options{DestroyNewer: true}, "1 clones")
	l.zfsTool("destroy", "tank/clone")
	l.wantAll("later", l.records, l.layers)
	p := l.plan(name, Options{DestroyNewer: true})
	if want := []string{snapshotName(l.layers, newer), snapshotName(l.records, newer)}; !slices.Equal(p.Newer, want[:]) {
		t.Errorf("newer ones of ours: %v, want %v", p.Newer, want)
	}
	t.Logf("\n%s", p)
	l.back(name, Options{DestroyNewer: true})
	l.wantAll("then", l.records, l.layers)
	if l.exists(foreign) || l.exists(later) {
		t.Error("what was newer is still there")
	}
}

// TestInUseIsRefused has a process or an overlay use the datasets, mounts one in another name
// space, and by a detached mount.
func TestInUseIsRefused(t *testing.T) {
	l := newLab(t)
	limited := l.limited(1)
	name := l.take()
	for _, dataset := range []string{l.records, l.layers, limited} {
		l.mountDataset(dataset, func(dir string) {
			f, err := os.Create(filepath.Join(dir, "open"))
			if err != nil {
				t.Fatal(err)
			}
			sleep := exec.Command("sleep", "1000")
			sleep.ExtraFiles = []*os.File{f}
			start(t, sleep)
			f.Close()
			l.wantRefused(name, Options{}, "(sleep)", "open file", "the mount on "+dir)
			stop(sleep)
			sleep = exec.Command("sleep", "1000")
			sleep.Dir = dir
			start(t, sleep)
			l.wantRefused(name, Options{}, "working directory")
			stop(sleep)
			l.overlayOn(dir, func() { l.wantRefused(name, Options{}, "an overlay on dataset "+dataset) })
		})
	}
	l.detached(l.layers, func() { l.wantRefused(name, Options{}, l.layers+" is in use") })
	l.elsewhere(l.layers, func() {
		l.wantRefused(name, Options{}, l.layers+" is mounted on", "a mount name space of its own", ", sleep,")
	})
	l.back(name, Options{})
}

func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}

func stop(c *exec.Cmd) {
	c.Process.Kill()
	c.Wait()
}

// overlayOn mounts an overlay elsewhere whose layers lie in dir.
func (l lab) overlayOn(dir string, fn func()) {
	l.t.Helper()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	target := l.t.TempDir()
	o := mount.Overlay{Dir: "/", Target: target, Lowers: []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}}
	m, err := o.Mount()
	if err == nil {
		err = m.Do()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	defer mount.Unmount(target)
	fn()
}

// detached opens a file in a mount and detaches the mount.
func (l lab) detached(dataset string, fn func()) {
	l.t.Helper()
	var f *os.File
	l.mountDataset(dataset, func(dir string) {
		var err error
		if f, err = os.Create(filepath.Join(dir, "open")); err != nil {
			l.t.Fatal(err)
		}
		if err := mount.Detach(dir); err != nil {
			l.t.Fatal(err)
		}
	})
	defer f.Close()
	fn()
}

// elsewhere mounts a dataset in another name space.
func (l lab) elsewhere(dataset string, fn func()) {
	l.t.Helper()
	dir := l.t.TempDir()
	ready := filepath.Join(l.t.TempDir(), "ready")
	c := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "mount -t zfs "+dataset+" "+dir+" && touch "+ready+" && exec sleep 1000")
	start(l.t, c)
	defer stop(c)
	waitFor(l.t, func() bool { _, err := os.Stat(ready); return err == nil })
	waitFor(l.t, func() bool {
		process, err := procfs.NewProc(c.Process.Pid)
		return err == nil && commandName(process) == "sleep"
	})
	fn()
}

// TestInterruptedAnywhere stops before each step. The store is marked then and takes no
// snapshots, and a second run finishes the rollback.
func TestInterruptedAnywhere(t *testing.T) {
	l := newLab(t)
	kept := l.limited(1)
	all := []string{l.records, l.layers, kept}
	l.writeAll("then", all...)
	name := l.take()
	m := l.mountTree()
	for n := 1; ; n++ {
		m.write("later")
		l.writeAll("later", l.layers, kept)
		later := l.limited(2)
		l.zfsTool("snapshot", snapshotName(later, "x"), snapshotName(l.records, "x"))
		l.zfsTool("bookmark", snapshotName(l.records, "x"), l.records+"#x")
		if !l.interrupt(name, n) {
			break
		}
		if property, err := PendingRollback(l.zfs, l.layers); err != nil || property != name {
			t.Fatalf("interrupted before step %d: the property is %q, %v", n, property, err)
		}
		if _, err := TakeManually(t.Context(), l.zfs, l.layers, l.records, nil); !errors.Is(err, fault.Interrupted) || !strings.HasSuffix(fault.Text(err), UnfinishedError(l.layers, name).Error()) {
			t.Errorf("a snapshot meanwhile: %v", err)
		}
		l.back(name, Options{DestroyNewer: true})
		l.wantAll("then", l.layers, kept)
		m.want("then", "later")
		if l.exists(later) {
			t.Errorf("interrupted before step %d: a later limited layer stays", n)
		}
	}
	l.wantAll("then", l.layers, kept)
	m.want("then", "later")
}

// interrupt ends a rollback before its n-th step, counted from 0. It returns false when there are
// fewer steps.
func (l lab) interrupt(name string, n int) bool {
	l.t.Helper()
	err := l.plan(name, Options{DestroyNewer: true}).execute(context.Background(), func(step string) error {
		if n--; n < 0 {
			l.t.Log("interrupted before:", step)
			return errCrash
		}
		return nil
	})
	if err != nil && !errors.Is(err, errCrash) {
		l.t.Fatal(err)
	}
	return err != nil
}

// TestAFailureBeforeAnythingWentBack clears the property. A later failure keeps it.
func TestAFailureBeforeAnythingWentBack(t *testing.T) {
	l := newLab(t)
	name := l.take()
	l.write(l.layers, "later")
	p := l.plan(name, Options{})
	l.zfsTool("snapshot", snapshotName(l.layers, "new"))
	if err := p.Do(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("a snapshot since the plan: %v", err)
	}
	l.wantRefused(name, Options{}, "1 newer")
	l.zfsTool("destroy", snapshotName(l.layers, "new"))

	err := l.plan(name, Options{}).execute(t.Context(), func(step string) error {
		if strings.HasSuffix(step, l.records) {
			l.zfsTool("bookmark", snapshotName(l.records, name), l.records+"#fine")
			l.zfsTool("snapshot", snapshotName(l.records, "new"))
		}
		return nil
	})
	if !errors.Is(err, ErrUnfinished) || !errors.Is(err, zfs.ErrExist) {
		t.Errorf("a snapshot in between: %v", err)
	}
	if property, _ := PendingRollback(l.zfs, l.layers); property != name {
		t.Errorf("the property is %q", property)
	}
	l.back(name, Options{DestroyNewer: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.plan(name, Options{}).Do(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnfinished) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMissingLimitedLayers makes sure that the plan names them and is refused.
func TestMissingLimitedLayers(t *testing.T) {
	l := newLab(t)
	gone, bare := l.limited(1), l.limited(2)
	l.write(l.layers, "then")
	name := l.take()
	l.write(l.layers, "later")
	l.zfsTool("destroy", "-r", gone)
	l.zfsTool("destroy", snapshotName(bare, name))
	l.wantRefused(name, Options{}, "2 of the 2", gone, bare, "--accept-missing")
	l.back(name, Options{AcceptMissing: true})
	l.wantAll("then", l.layers)
	if !l.exists(bare) {
		t.Error("a limited layer without the snapshot was destroyed")
	}
}

// TestLayersOnly refuses a snapshot without records, unless the operator asks for that.
func TestLayersOnly(t *testing.T) {
	l := newLab(t)
	l.writeAll("then", l.layers, l.records)
	name, err := TakeManually(t.Context(), l.zfs, l.layers, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	both := l.take()
	l.writeAll("later", l.layers, l.records)
	l.wantRefused(name, Options{DestroyNewer: true}, "holds layers only", "Docker's records", "--layers-only")
	if _, err := PlanRollback(l.zfs, l.layers, both, Options{Records: "tank/other"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("with other records: %v", err)
	}
	l.back(both, Options{LayersOnly: true})
	l.wantAll("later", l.records)
	l.wantAll("then", l.layers)
	l.write(l.layers, "later")
	l.back(name, Options{LayersOnly: true, DestroyNewer: true})
	l.wantAll("later", l.records)
	l.wantAll("then", l.layers)
	for _, name := range []string{"nonsense", "overlayzfs-stop-20200101T000000Z-1"} {
		if _, err := PlanRollback(l.zfs, l.layers, name, Options{}); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInPlace has layers and records on one dataset.
func TestInPlace(t *testing.T) {
	l := newLab(t)
	l.records = l.layers
	l.write(l.layers, "then")
	name := l.take()
	l.write(l.layers, "later")
	l.mountDataset(l.layers, func(string) {
		if _, err := PlanRollback(l.zfs, l.layers, name, Options{LayersOnly: true}); !errors.Is(err, fault.Invalid) {
			t.Errorf("layers only: %v", err)
		}
		l.back(name, Options{})
	})
	l.wantAll("then", l.layers)
}

// TestAProcessInARecordsRoot makes sure that a process counts whose root is there, such as a
// plugin's.
func TestAProcessInARecordsRoot(t *testing.T) {
	l := newLab(t)
	name := l.take()
	l.mountDataset(l.records, func(dir string) {
		raw, err := os.ReadFile("/bin/busybox")
		if err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(dir, "sleep")
		if err := os.WriteFile(program, raw, 0o700); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(program, "1000")
		start(t, c)
		l.wantRefused(name, Options{}, "its program")
		stop(c)
		c = exec.Command("/sleep", "1000")
		c.SysProcAttr = &unix.SysProcAttr{Chroot: dir}
		start(t, c)
		l.wantRefused(name, Options{}, "its root directory", dir)
		stop(c)
	})
}
