package migrate

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// planning is a planner on the host, as far as it needs no ZFS.
func (h host) planning(w Request) *planner {
	h.Helper()
	w.Root, w.Driver = h.dir, "overlayzfs"
	r, err := openDataRoot(h.dir)
	h.no(err)
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	h.Cleanup(func() { h.no(errors.Join(r.Close(), docker.Close())) })
	return &planner{Request: w, root: r, docker: docker, plan: &Plan{Root: h.dir}}
}

func TestTheDriverIsFound(t *testing.T) {
	h := newVFSHost(t)
	h.write("image/overlay2/layerdb/tmp/left", "") // no layer
	p := h.planning(Request{})
	h.no(p.chooseDrivers())
	if p.plan.Job.From != "vfs" || p.plan.Job.To != "overlayzfs" {
		t.Errorf("%+v", p.plan.Job)
	}
	h.write("image/overlay2/imagedb/content/sha256/"+hexID("x"), "x")
	if err := h.planning(Request{}).chooseDrivers(); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--from") {
		t.Errorf("of two: %v", err)
	}
	h.no(h.planning(Request{From: "overlay2"}).chooseDrivers())
	for _, w := range []Request{{From: "another/plugin"}, {Back: true, To: "vfs"}} {
		if err := h.planning(w).chooseDrivers(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	h.no(os.RemoveAll(h.path("image")))
	if err := h.planning(Request{}).chooseDrivers(); !errors.Is(err, fault.NotFound) {
		t.Errorf("of none: %v", err)
	}
}

// TestObstacles are all said, before anything is done.
func TestObstacles(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(h host)
		says  string
	}{
		"Nothing": {func(host) {}, ""},
		"Damage":  {func(h host) { h.write("image/vfs/layerdb/sha256/x/diff", "x") }, "cannot read a record"},
		"Gap":     {func(h host) { h.no(os.RemoveAll(h.path("image/vfs/layerdb/mounts"))) }, "incomplete"},
		"Layer":   {func(h host) { h.no(os.RemoveAll(h.path("vfs/dir/base"))) }, "cannot read layer base"},
		"Twice":   {func(h host) { h.write("image/vfs/layerdb/mounts/"+hexID("web")+"/init-id", hexID("mount of web")) }, "more than one layer"},
		"Image's": {func(h host) { h.write("image/vfs/layerdb/mounts/"+hexID("web")+"/mount-id", "base") }, "more than one layer"},
		"Features": {func(h host) {
			h.no(os.WriteFile(h.config, []byte(`{"features":{"containerd-snapshotter":true}}`), 0o600))
		}, "containerd-snapshotter"},
		"TarSplit": {func(h host) { h.no(os.Remove(h.split())) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newVFSHost(t)
			tt.spoil(h)
			p := h.planning(Request{From: "vfs", Config: h.config})
			h.no(p.chooseDrivers())
			h.no(p.planConfig())
			p.records = h.records("vfs")
			h.no(p.countRecords())
			p.checkComplete()
			h.no(p.checkLayersPresent())
			if err := p.plan.CheckObstacles(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if noted := len(p.plan.Notes) > 0; noted != (name == "TarSplit") || noted && !strings.Contains(p.plan.Notes[0], "is carried as a tree") {
				t.Errorf("%q", p.plan.Notes)
			}
			if tt.says == "" && (p.plan.Images != 1 || p.plan.Layers != 6 || p.plan.Containers != 2 || p.plan.Bytes == 0) {
				t.Errorf("%+v", p.plan)
			}
		})
	}
}

// TestOnlyLayersAreDestroyed: of the datasets below that of moby's zfs driver.
func TestOnlyLayersAreDestroyed(t *testing.T) {
	s := zfsSource{dataset: "tank/docker"}
	for _, id := range []string{"home", hexID("x")[:63], hexID("x") + "-old", "a/b", ""} {
		if err := s.deleteLayer(t.Context(), id); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := s.openLayer(id); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// split is the tar-split record of a layer.
func (h host) split() string {
	h.Helper()
	for chain := range h.records("vfs").Layers {
		return h.path("image/vfs/layerdb/sha256/" + chain.Encoded() + "/tar-split.json.gz")
	}
	return ""
}

// TestDaemonJSONThatCannotBeWritten is said first, is no obstacle when nothing is to
// be written, and keeps neither the next run nor an undo from leaving it alone.
func TestDaemonJSONThatCannotBeWritten(t *testing.T) {
	for after, says := range map[string]string{"overlayzfs": "--leave-config", "vfs": ""} {
		h := newVFSHost(t)
		p := h.planning(Request{From: "vfs", Config: "/proc/self/daemon.json"})
		h.no(p.chooseDrivers())
		p.plan.Job.To = after
		if p.plan.Job.From == after { // it names what it should already
			p.Config = h.config
			p.plan.Job.From = "zfs"
		}
		h.no(p.planConfig())
		if err := p.plan.CheckObstacles(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", after, err)
		}
	}
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	j := h.copyJob()
	j.Config = "/proc/self/daemon.json"
	if err := h.run(j, s); !errors.Is(err, ErrUnfinished) {
		t.Fatalf("%v", err)
	}
	tools := s.tools()
	tools.LeaveConfig = true
	plan, err := MakePlan(Request{Root: h.dir, Driver: "overlayzfs"})
	h.no(err)
	h.no(plan.Run(t.Context(), tools))
	h.no(Undo(t.Context(), h.dir, tools))
}

// TestReclaimIsNotIgnored: begun without it a migration goes on without it, and
// where nothing is copied that is said.
func TestReclaimIsNotIgnored(t *testing.T) {
	h := newVFSHost(t)
	look := func(h host, reclaim bool) *Plan {
		t.Helper()
		plan, err := MakePlan(Request{Root: h.dir, Driver: "overlayzfs", Reclaim: reclaim})
		h.no(err)
		return plan
	}
	if err := h.run(h.copyJob(), &fakeStore{dir: t.TempDir(), refuse: "top"}); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	h.no(look(h, false).CheckObstacles())
	if err := look(h, true).CheckObstacles(); err == nil || !strings.Contains(err.Error(), "--reclaim") || !strings.Contains(err.Error(), "--undo") {
		t.Errorf("too late: %v", err)
	}
	h = newVFSHost(t)
	j := h.copyJob()
	j.Reclaim = true
	if err := h.run(j, &fakeStore{dir: t.TempDir(), refuse: "top"}); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	h.no(look(h, true).CheckObstacles())
	h = newOverlay2Host(t)
	h.cutShort(2, false)
	plan := look(h, true)
	if h.no(plan.CheckObstacles()); !strings.Contains(strings.Join(plan.Notes, "\n"), "no layer is copied") {
		t.Errorf("of a rename: %q", plan.Notes)
	}
}

// TestAnotherMigrationIsAskedFor than the one that was begun.
func TestAnotherMigrationIsAskedFor(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir(), refuse: "top"}
	if err := h.run(h.copyJob(), s); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		wanted Request
		is     bool
	}{
		{Request{}, true}, {Request{From: "vfs"}, true}, {Request{Action: ActionUndo, Back: true}, true},
		{Request{From: "zfs"}, false}, {Request{Back: true}, false}, {Request{Driver: "another"}, false},
	} {
		tt.wanted.Root, tt.wanted.Driver = h.dir, cmp.Or(tt.wanted.Driver, "overlayzfs")
		plan, err := MakePlan(tt.wanted)
		h.no(err)
		if err := plan.CheckObstacles(); (err == nil) != tt.is || err != nil && !strings.Contains(err.Error(), "--from vfs --driver overlayzfs") {
			t.Errorf("%+v: %v", tt.wanted, err)
		}
	}
}

// TestWhatOverlayfsCannotDoIsNoted, with the containers that it concerns.
func TestWhatOverlayfsCannotDoIsNoted(t *testing.T) {
	for from, want := range map[string][]string{
		"vfs":       {"rename a directory", "1 containers with a limit get inode numbers above 2^32"},
		overlay2Dir: {"1 containers with a limit get inode numbers above 2^32"},
	} {
		p := &planner{plan: &Plan{Job: Job{From: from}}, items: []item{{}, {limit: map[string]string{"size": "1G"}}}}
		p.noteOverlayfs()
		if len(p.plan.Notes) != len(want) {
			t.Fatalf("%s: %q", from, p.plan.Notes)
		}
		for i, text := range want {
			if !strings.Contains(p.plan.Notes[i], text) {
				t.Errorf("%s: %q, want %q", from, p.plan.Notes[i], text)
			}
		}
	}
}
