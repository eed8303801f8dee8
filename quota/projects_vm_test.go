//go:build vm

package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

func (s *store) projectUsage(id uint32) zfs.ProjectUsage {
	s.t.Helper()
	usage, err := s.handle.ProjectUsage(s.dataset, id)
	must(s.t, err)
	return usage
}

func (s *store) project(layer Layer) uint32 {
	s.t.Helper()
	r, err := s.Find(layer.Key)
	must(s.t, err)
	return r.Project
}

func TestAProjectLayersWholeLife(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("whole", Spec{Limits: Limits{Bytes: 64 * mib, Inodes: 1000}})
	id := s.project(layer)
	if !isOurProject(id) {
		t.Fatalf("project ID %d", id)
	}
	for _, name := range contentDirs {
		f, err := os.Open(filepath.Join(layer.Dir, name))
		must(t, err)
		got, inherit, err := zfs.ProjectID(f)
		f.Close()
		if err != nil || got != id || !inherit {
			t.Errorf("%s: project %d, inherit %v, %v; want %d", name, got, inherit, err, id)
		}
	}
	s.attach(layer)
	must(t, s.Attach(layer)) // again
	must(t, os.WriteFile(filepath.Join(layer.Dir, "diff/file"), make([]byte, 5*mib), 0o600))
	s.sync()
	used, err := s.Usage(layer)
	must(t, err)
	if used.Bytes < 5*mib || used.Bytes > 6*mib || used.Inodes != 3 {
		t.Errorf("usage: %+v", used)
	}
	equal(t, "limits", s.projectUsage(id).ByteLimit, 64*mib)
	equal(t, "limits", s.projectUsage(id).ObjectLimit, 1000)
	must(t, s.SetLimits(layer, Limits{Bytes: 32 * mib}))
	equal(t, "limits", s.projectUsage(id).ByteLimit, 32*mib)
	equal(t, "limits", s.projectUsage(id).ObjectLimit, 0)
	wantError(t, s.SetLimits(layer, Limits{Bytes: 4 * mib}), fault.LimitReached, "a limit of 4194304 bytes is below", "delete files")
	equal(t, "limit after a refusal", s.projectUsage(id).ByteLimit, 32*mib)
	s.wantChildren()

	must(t, s.handle.SetProjectQuota(s.dataset, id, 1, 0)) // as a crash of the governor may leave it
	s.restart(Project)
	equal(t, "limit after the start", s.projectUsage(id).ByteLimit, 32*mib)

	s.detach(layer)
	must(t, s.Discard(layer.Key))
	equal(t, "limit of a layer that is gone", s.projectUsage(id).ByteLimit, 0)
	if unused, err := s.controllers[Project].(*projects).isUnused(id); err != nil || unused {
		t.Errorf("its files are there, and its ID is free: %v", err)
	}
	must(t, os.RemoveAll(layer.Dir))
	s.sync()
	if unused, err := s.controllers[Project].(*projects).isUnused(id); err != nil || !unused {
		t.Errorf("its files are gone, and its ID is not free: %v", err)
	}
	s.wantRecords()
}

// TestALayerWithPropertiesGetsADataset even where project quotas are used.
func TestALayerWithPropertiesGetsADataset(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("both", Spec{Limits: Limits{Bytes: 8 * mib}, Properties: Properties{"recordsize": "16K"}})
	s.wantChildren(layer.Key)
	equal(t, "project ID", s.project(layer), 0)
	s.remove(layer)
}

// TestModesMayChange makes sure that layers keep the mode that they were made with.
func TestModesMayChange(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("old", bytesOf(8*mib))
	id := s.project(layer)
	for _, mode := range []Mode{Dataset, Off, Auto} {
		s.restart(mode)
		_, err := s.Usage(layer)
		must(t, err)
		must(t, s.SetLimits(layer, Limits{Bytes: 16 * mib}))
		err = s.Attach(layer)
		if s.projectRefusal != nil {
			wantError(t, err, fault.Unsupported, "layer old", "18932")
		} else {
			must(t, err)
		}
		must(t, s.Detach(layer))
	}
	s.restart(Off)
	wantError(t, s.Check(bytesOf(mib)), fault.Unsupported, "quota=off")
	s.remove(layer)
	equal(t, "limit", s.projectUsage(id).ByteLimit, 0)
}

// TestForeignProjectsAreSpared makes sure that limits of others stay, and that their IDs are not
// used.
func TestForeignProjectsAreSpared(t *testing.T) {
	s := newStore(t, Project)
	ids := s.controllers[Project].(*projects).ids
	ids.next = firstProject
	dir := filepath.Join(s.home, "foreign")
	must(t, os.Mkdir(dir, 0o700))
	must(t, setProjectID(dir, firstProject)) // somebody else's files
	must(t, s.handle.SetProjectQuota(s.dataset, firstProject, 7*mib, 0))
	must(t, s.handle.SetProjectQuota(s.dataset, 1000, 9*mib, 0))
	must(t, s.handle.SetProjectQuota(s.dataset, firstProject+1, 9*mib, 9)) // what a crash left of ours
	s.sync()
	layer := s.add("new", bytesOf(8*mib))
	equal(t, "project ID", s.project(layer), firstProject+2)
	must(t, s.Sweep(context.Background()))
	equal(t, "limit of a layer", s.projectUsage(s.project(layer)).ByteLimit, 8*mib)
	equal(t, "limit of an ID with files", s.projectUsage(firstProject).ByteLimit, 7*mib)
	equal(t, "limit outside of the range", s.projectUsage(1000).ByteLimit, 9*mib)
	equal(t, "limit that nobody has", s.projectUsage(firstProject+1), zfs.ProjectUsage{ID: firstProject + 1})
	must(t, os.WriteFile(filepath.Join(s.records(), newKey()), []byte("damaged"), 0o600))
	must(t, s.handle.SetProjectQuota(s.dataset, firstProject+1, 9*mib, 0))
	must(t, s.Sweep(context.Background()))
	equal(t, "limit that may be of a damaged record", s.projectUsage(firstProject+1).ByteLimit, 9*mib)
}

// TestANeighboursNewLayerKeepsItsLimit has two stores on one dataset. One sweeps before ZFS has
// counted the other's new layer.
func TestANeighboursNewLayerKeepsItsLimit(t *testing.T) {
	s := newStore(t, Project)
	layer := s.add("new", bytesOf(8*mib))
	other := filepath.Join(s.home, "other")
	must(t, os.Mkdir(other, 0o700))
	c := s.config(Auto)
	c.Records, c.Store = other, "OTHER"
	neighbour, err := Open(context.Background(), c)
	must(t, err)
	defer neighbour.Close()
	must(t, neighbour.Sweep(context.Background()))
	equal(t, "limit", s.projectUsage(s.project(layer)).ByteLimit, 8*mib)
}

// TestACrashInMakeOfAProjectLayer leaves a record, or a record and a limit.
func TestACrashInMakeOfAProjectLayer(t *testing.T) {
	s := newStore(t, Project)
	p := s.newLayer()
	must(t, os.Mkdir(p.Dir, 0o700))
	must(t, s.Make(p, "half", bytesOf(8*mib), makeContents))
	id := s.project(p)
	s.restart(Project)
	equal(t, "limit", s.projectUsage(id).ByteLimit, 0)
	s.wantRecords()
	must(t, os.RemoveAll(p.Dir))
}

// TestTheProbeIsRight compares the probe's verdict with an overlay on a project-limited upper
// directory. On a module with openzfs #18932 the probe refuses and the overlay fails. On a module
// without it the probe accepts and the overlay works.
func TestTheProbeIsRight(t *testing.T) {
	s := newStore(t, Auto)
	why := s.projectRefusal
	version, err := zfs.Version()
	must(t, err)
	s.forceProjects()
	results := overlayOperations(t, s)
	left, err := os.ReadDir(s.stage())
	must(t, err)
	equal(t, "left by the probe", len(left), 0)
	if why == nil {
		for name, err := range results {
			t.Logf("OpenZFS %s: the probe accepts; %s: %v", version, name, err)
			must(t, err)
		}
		return
	}
	t.Logf("the probe refuses: %v", why)
	wantError(t, why, fault.Unsupported, "OpenZFS "+version, "#18932")
	wantError(t, why, unix.EXDEV)
	for name, err := range results {
		t.Logf("OpenZFS %s, forced: %s: %v", version, name, err)
		wantError(t, err, errCommand, "Invalid cross-device link")
	}
	asked := s.config(Project)
	_, err = Open(context.Background(), asked)
	wantError(t, err, fault.Unsupported, "overlayzfs.quota=project", "18932", "choose auto")
}

var errCommand = errors.New("command failed")

// overlayOperations does in a limited layer on a base what every container does sooner or later.
func overlayOperations(t *testing.T, s *store) map[string]error {
	lower := filepath.Join(s.home, "base")
	for _, dir := range []string{"dir/sub", "etc"} {
		must(t, os.MkdirAll(filepath.Join(lower, dir), 0o755))
	}
	for _, file := range []string{"file", "dir/file", "dir/sub/file"} {
		must(t, os.WriteFile(filepath.Join(lower, file), []byte("lower"), 0o644))
	}
	must(t, os.Symlink("old", filepath.Join(lower, "link")))
	layer := s.add("top", bytesOf(64*mib))
	s.attach(layer)
	merged := plainDir(t)
	must(t, mount.Mount{Type: "overlay", Source: "overlay", Target: merged, Options: []mount.Option{
		{Key: "lowerdir", Value: lower}, {Key: "upperdir", Value: filepath.Join(layer.Dir, "diff")}, {Key: "workdir", Value: filepath.Join(layer.Dir, "work")},
	}}.Do())
	t.Cleanup(func() { must(t, mount.Unmount(merged)) })
	return map[string]error{
		"rm of a lower file":           command("rm", merged+"/file"),
		"ln -sfn over a lower symlink": command("ln", "-sfn", "new", merged+"/link"),
		"rm -r of a lower directory":   command("rm", "-r", merged+"/dir"),
	}
}

func command(name string, args ...string) error {
	if out, err := run(name, args...); err != nil {
		return fmt.Errorf("%w: %v: %s", errCommand, err, out)
	}
	return nil
}

func destroyPool(t *testing.T, pool string) {
	t.Helper()
	// The kernel releases a refused request a moment later.
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for range 40 {
		if exec.Command("zpool", "destroy", "-f", pool).Run() == nil {
			return
		}
		<-tick.C
	}
	cli(t, "zpool", "destroy", pool)
}

// TestTheProbeNeedsTheFeature makes a pool without project quotas.
func TestTheProbeNeedsTheFeature(t *testing.T) {
	image := filepath.Join(plainDir(t), "disk")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 128*mib))
	t.Cleanup(func() { must(t, os.Remove(image)) })
	pool := "quotatest-old"
	cli(t, "zpool", "create", "-O", "mountpoint=none", "-o", "feature@project_quota=disabled", pool, image)
	t.Cleanup(func() { destroyPool(t, pool) })
	cli(t, "zfs", "create", "-o", "mountpoint=legacy", pool+"/store")
	home := plainDir(t)
	must(t, zfs.MountDataset(pool+"/store", home))
	t.Cleanup(func() { must(t, mount.Unmount(home)) })
	handle, err := zfs.Open()
	must(t, err)
	t.Cleanup(func() { must(t, handle.Close()) })
	c := Config{ZFS: handle, Dataset: pool + "/store", Staging: home, Records: home}
	l, err := Open(context.Background(), c)
	must(t, err)
	defer l.Close()
	mode, why := l.Mode()
	equal(t, "mode", mode, Dataset)
	t.Log(why)
	wantError(t, why, fault.Unsupported, "project quotas")
	wantError(t, why, zfs.ErrUnsupported)
	must(t, l.Sweep(context.Background()))
	s := &store{Limiter: l, t: t, handle: handle, dataset: pool + "/store", home: home}
	must(t, os.MkdirAll(s.stage(), 0o700))
	l.records = records(home + "/.overlayzfs/limits")
	must(t, os.MkdirAll(s.records(), 0o700))
	s.live = map[string]Layer{}
	layer := s.add("layer", bytesOf(8*mib))
	_, err = l.Usage(layer) // files of an unmounted dataset are not known there
	must(t, err)
	s.remove(layer)
	must(t, os.RemoveAll(s.home+"/.overlayzfs"))
}
