package migrate

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// planning is a planner on the host, as far as it needs no ZFS.
func (h host) planning(w Wanted) *planner {
	h.Helper()
	w.Root, w.Driver = h.dir, "overlayzfs"
	r, err := openDataRoot(h.dir)
	h.no(err)
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	h.Cleanup(func() { h.no(errors.Join(r.Close(), docker.Close())) })
	return &planner{Wanted: w, root: r, docker: docker, plan: &Plan{Root: h.dir}}
}

func TestTheDriverIsFound(t *testing.T) {
	h := onVFS(t)
	h.write("image/overlay2/layerdb/tmp/left", "") // no layer
	p := h.planning(Wanted{})
	h.no(p.drivers())
	if p.plan.Job.From != "vfs" || p.plan.Job.To != "overlayzfs" {
		t.Errorf("%+v", p.plan.Job)
	}
	h.write("image/overlay2/imagedb/content/sha256/"+hexID("x"), "x")
	if err := h.planning(Wanted{}).drivers(); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--from") {
		t.Errorf("of two: %v", err)
	}
	h.no(h.planning(Wanted{From: "overlay2"}).drivers())
	for _, w := range []Wanted{{From: "another/plugin"}, {Back: true, To: "vfs"}} {
		if err := h.planning(w).drivers(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	h.no(os.RemoveAll(h.path("image")))
	if err := h.planning(Wanted{}).drivers(); !errors.Is(err, fault.NotFound) {
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
		"Damage":  {func(h host) { h.write("image/vfs/layerdb/sha256/x/diff", "x") }, "not understood"},
		"Gap":     {func(h host) { h.no(os.RemoveAll(h.path("image/vfs/layerdb/mounts"))) }, "not whole"},
		"Layer":   {func(h host) { h.no(os.RemoveAll(h.path("vfs/dir/base"))) }, "cannot be read"},
		"Twice":   {func(h host) { h.write("image/vfs/layerdb/mounts/"+hexID("web")+"/init-id", hexID("mount of web")) }, "more than one layer"},
		"Image's": {func(h host) { h.write("image/vfs/layerdb/mounts/"+hexID("web")+"/mount-id", "base") }, "more than one layer"},
		"Features": {func(h host) {
			h.no(os.WriteFile(h.config, []byte(`{"features":{"containerd-snapshotter":true}}`), 0o600))
		}, "containerd-snapshotter"},
		"TarSplit": {func(h host) { h.no(os.Remove(h.split())) }, "cannot be compared"},
	} {
		t.Run(name, func(t *testing.T) {
			h := onVFS(t)
			tt.spoil(h)
			p := h.planning(Wanted{From: "vfs", Config: h.config})
			h.no(p.drivers())
			h.no(p.config())
			p.records = h.records("vfs")
			h.no(p.count())
			p.whole()
			h.no(p.present())
			if err := p.plan.Refused(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if tt.says == "" && (p.plan.Images != 1 || p.plan.Layers != 6 || p.plan.Containers != 2 || p.plan.Bytes == 0) {
				t.Errorf("%+v", p.plan)
			}
		})
	}
}

// TestOnlyLayersAreDestroyed: of the datasets below that of moby's zfs driver.
func TestOnlyLayersAreDestroyed(t *testing.T) {
	s := clones{dataset: "tank/docker"}
	for _, id := range []string{"home", hexID("x")[:63], hexID("x") + "-old", "a/b", ""} {
		if err := s.discard(t.Context(), id); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := s.open(id); !errors.Is(err, fault.UnsafeInput) {
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

// TestDaemonJSON keeps what a migration does not change.
func TestDaemonJSON(t *testing.T) {
	for name, tt := range map[string]struct{ before, from, to, option, after string }{
		"Empty":    {``, "overlay2", "overlayzfs", "", `{"experimental":true,"storage-driver":"overlayzfs"}`},
		"Others":   {`{"labels":["a"],"storage-opts":["Overlay2.size=1G","x=1"]}`, "overlay2", "overlayzfs", "", `{"experimental":true,"labels":["a"],"storage-driver":"overlayzfs","storage-opts":["x=1"]}`},
		"Only his": {`{"storage-opts":["zfs.fsname=tank/x"]}`, "zfs", "overlayzfs", "", `{"experimental":true,"storage-driver":"overlayzfs"}`},
		"Back":     {`{"experimental":true,"storage-opts":["overlayzfs.dataset=tank/x"]}`, "overlayzfs", "zfs", "zfs.fsname=tank/y", `{"experimental":true,"storage-driver":"zfs","storage-opts":["zfs.fsname=tank/y"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, tt.from)
			h.no(errors.Join(os.WriteFile(h.config, []byte(tt.before), 0o600), os.Chmod(h.config, 0o640)))
			f, err := readFields(h.config)
			h.no(err)
			before := f.before()
			h.no(errors.Join(f.use(tt.from, tt.to, tt.option), f.write(h.config)))
			if got := compact(h); got != tt.after {
				t.Errorf("%s, want %s", got, tt.after)
			}
			if info, err := os.Stat(h.config); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v", info, err)
			}
			f.restore(before)
			h.no(f.write(h.config))
			if got := compact(h); tt.before != "" && len(got) != len(tt.before) {
				t.Errorf("restored: %s, want %s", got, tt.before)
			}
		})
	}
	h := newHost(t, "vfs")
	h.no(os.WriteFile(h.config, []byte("{\n  broken"), 0o600))
	if _, err := readFields(h.config); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

// TestAHostThatWasSetUpBefore names the plugin in daemon.json already; the way back
// does not leave dockerd with a driver that has nothing.
func TestAHostThatWasSetUpBefore(t *testing.T) {
	h := newHost(t, "zfs")
	h.no(os.WriteFile(h.config, []byte(`{"storage-driver":"overlayzfs","storage-opts":["overlayzfs.dataset=tank/x"],"experimental":true}`), 0o600))
	f, err := readFields(h.config)
	h.no(err)
	j := &Job{From: "zfs", To: "overlayzfs", ZFSDataset: "tank/docker", Config: h.config, Before: f.before()}
	before := compact(h)
	h.no(j.switchConfig())
	if got := compact(h); len(got) != len(before) {
		t.Errorf("%s became %s", before, got)
	}
	h.no(j.restoreConfig())
	if got, want := compact(h), `{"experimental":true,"storage-driver":"zfs","storage-opts":["zfs.fsname=tank/docker"]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDaemonJSONThatCannotBeWritten is said first, is no obstacle when nothing is to
// be written, and keeps neither the next run nor an undo from leaving it alone.
func TestDaemonJSONThatCannotBeWritten(t *testing.T) {
	for after, says := range map[string]string{"overlayzfs": "--leave-config", "vfs": ""} {
		h := onVFS(t)
		p := h.planning(Wanted{From: "vfs", Config: "/proc/self/daemon.json"})
		h.no(p.drivers())
		p.plan.Job.To = after
		if p.plan.Job.From == after { // it names what it should already
			p.Config = h.config
			p.plan.Job.From = "zfs"
		}
		h.no(p.config())
		if err := p.plan.Refused(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", after, err)
		}
	}
	h, s := onVFS(t), &shelf{dir: t.TempDir()}
	j := h.copyJob()
	j.Config = "/proc/self/daemon.json"
	if err := h.run(j, s); !errors.Is(err, ErrBegun) {
		t.Fatalf("%v", err)
	}
	tools := s.tools()
	tools.LeaveConfig = true
	plan, err := Look(Wanted{Root: h.dir, Driver: "overlayzfs"})
	h.no(err)
	h.no(plan.Run(t.Context(), tools))
	h.no(Undo(t.Context(), h.dir, tools))
}

// TestAnotherMigrationIsAskedFor than the one that was begun.
func TestAnotherMigrationIsAskedFor(t *testing.T) {
	h, s := onVFS(t), &shelf{dir: t.TempDir(), refuse: "top"}
	if err := h.run(h.copyJob(), s); !errors.Is(err, ErrBegun) {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		wanted Wanted
		is     bool
	}{
		{Wanted{}, true}, {Wanted{From: "vfs"}, true}, {Wanted{Action: Backward, Back: true}, true},
		{Wanted{From: "zfs"}, false}, {Wanted{Back: true}, false}, {Wanted{Driver: "another"}, false},
	} {
		tt.wanted.Root, tt.wanted.Driver = h.dir, cmp.Or(tt.wanted.Driver, "overlayzfs")
		plan, err := Look(tt.wanted)
		h.no(err)
		if err := plan.Refused(); (err == nil) != tt.is || err != nil && !strings.Contains(err.Error(), "--from vfs --driver overlayzfs") {
			t.Errorf("%+v: %v", tt.wanted, err)
		}
	}
}

// compact is daemon.json in one line.
func compact(h host) string {
	raw, err := os.ReadFile(h.config)
	h.no(err)
	return strings.NewReplacer(" ", "", "\n", "").Replace(string(raw))
}
