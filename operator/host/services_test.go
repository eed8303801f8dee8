package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
)

// fakeSystemd has units, and records what it is told.
type fakeSystemd struct {
	states map[string]services.State
	told   []string
}

func (f *fakeSystemd) Properties(_ context.Context, unit string) (map[string]any, error) {
	s := f.states[unit]
	word := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	return map[string]any{
		"LoadState": word(s.Loaded, "loaded", "not-found"), "UnitFileState": word(s.Enabled, "enabled", "disabled"), "ActiveState": word(s.Active, "active", "inactive"),
	}, nil
}

func (f *fakeSystemd) Do(_ context.Context, verb services.Verb, unit string) error {
	f.told = append(f.told, strings.TrimSpace(string(verb)+" "+unit))
	return nil
}

var running = services.State{Loaded: true, Enabled: true, Active: true}

// modernHost is a host with Docker 28, on which nothing was done but the package installed.
func modernHost(t *testing.T) (Facts, Request, string) {
	t.Helper()
	dir := t.TempDir()
	f, w := facts(t, `{"debug": true}`), wanted
	w.Parent, w.Door, w.Containerd = "", Snapshotter, filepath.Join(dir, "containerd/config.toml")
	w.SnapshotterConfig = filepath.Join(dir, "overlayzfs/snapshotter.toml")
	f.Datasets[w.Layers] = newDataset(w.Layers, "legacy")
	f.Plugin, f.SnapshotterThere = nil, false
	f.Engine = &Engine{Version: "28.5.2", Info: dockerd.Info{Driver: "overlay2", Running: 2}}
	f.Units = map[string]services.State{services.Docker: running, services.Containerd: running, services.Snapshotter: {Loaded: true}}
	w.Services = &services.Manager{Systemd: &fakeSystemd{states: f.Units}}
	for path, text := range map[string]string{w.Containerd: "# mine\nversion = 2\n", w.SnapshotterConfig: "# ours\n[store]\ndataset = \"\"\n"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	f.Snapshotter = &SnapshotterFacts{ReadOnly: map[string]string{}, Modern: true}
	return f, w, dir
}

// gather reads the files again, as GatherServices does.
func gather(t *testing.T, f *Facts, w Request) {
	t.Helper()
	for path, file := range map[string]*configfile.File{w.SnapshotterConfig: &f.Snapshotter.Config, w.Containerd: &f.Snapshotter.Main, containerdDropIn(w.Containerd): &f.Snapshotter.DropIn} {
		var err error
		if *file, err = configfile.Load(path); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if f.Snapshotter.settings, err = readSnapshotter(w.SnapshotterConfig); err != nil {
		t.Fatal(err)
	}
	if f.Snapshotter.Without, err = containerdconf.ReadWithout(w.Containerd, f.Snapshotter.DropIn.Path); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotterSteps has a row for each state of a host.
func TestSnapshotterSteps(t *testing.T) {
	const (
		toml    = "edit DIR/overlayzfs/snapshotter.toml, kept as DIR/overlayzfs/snapshotter.toml.before-overlayzfs"
		start   = "enable and start overlayzfs-snapshotter.service"
		dropIn  = "write DIR/containerd/conf.d/overlayzfs.toml"
		imports = "edit DIR/containerd/config.toml, kept as DIR/containerd/config.toml.before-overlayzfs"
		again   = "restart containerd.service"
		check   = "check that containerd makes a snapshot by overlayzfs"
		json    = "edit FILE, kept as FILE.before-overlayzfs"
		docker  = "restart docker.service"
		proof   = "run a container on overlayzfs, of an image without a registry that is removed again"
	)
	for name, tt := range map[string]struct {
		with  func(*testing.T, *Facts, *Request)
		steps []string
		says  string // what remains
	}{
		"a new host": {func(*testing.T, *Facts, *Request) {}, []string{toml, start, dropIn, imports, again, check, json, docker, proof}, "overlayzfs doctor"},
		"no configuration": {func(t *testing.T, _ *Facts, w *Request) { remove(t, w.Containerd) }, []string{
			toml, start, dropIn, "write DIR/containerd/config.toml", again, check, json, docker, proof,
		}, ""},
		"it imports":     {func(t *testing.T, _ *Facts, w *Request) { rewrite(t, w.Containerd, "imports = ['conf.d/*.toml']\n") }, []string{toml, start, dropIn, again, check, json, docker, proof}, ""},
		"no restart":     {func(_ *testing.T, _ *Facts, w *Request) { w.NoRestart = true }, []string{toml, start, dropIn, imports, json}, "systemctl restart containerd.service docker.service; overlayzfs doctor"},
		"without Docker": {func(_ *testing.T, f *Facts, _ *Request) { f.NoDocker, f.Engine = true, nil }, []string{toml, start, dropIn, imports, again, check}, "overlayzfs doctor"},
		"not installed":  {func(_ *testing.T, f *Facts, _ *Request) { f.Snapshotter = nil }, nil, "Install the snapshotter"},
		"read-only": {func(_ *testing.T, f *Facts, w *Request) {
			f.Snapshotter.ReadOnly[containerdDropIn(w.Containerd)] = "/etc is on a read-only file system"
		}, []string{toml, start, imports}, "[proxy_plugins.overlayzfs]"},
		"an odd form": {func(t *testing.T, _ *Facts, w *Request) {
			rewrite(t, w.SnapshotterConfig, "store = {dataset = \"\"}\n")
		}, nil, `dataset = "tank/docker/layers" under [store]`},
		"read-only snapshotter.toml": {func(_ *testing.T, f *Facts, w *Request) {
			f.Snapshotter.ReadOnly[w.SnapshotterConfig] = "/etc is on a read-only file system"
		}, nil, "under [store]"},
		"dockerd without a unit": {func(_ *testing.T, f *Facts, w *Request) {
			f.Units[services.Docker], w.Systemd = services.State{}, "/"
			f.DropIns = map[string]DropIn{services.Docker: {Path: "/docker.service.d/overlayzfs.conf"}, services.Snapshotter: {Path: "/nowhere", ReadOnly: "it is read-only"}}
		}, []string{toml, start, dropIn, imports, again, check, json}, "Restart dockerd, which is not docker.service"},
		"live-restore": {func(_ *testing.T, f *Facts, w *Request) { f.Engine.Info.LiveRestore, w.NoRestart = true, true },
			[]string{toml, start, dropIn, imports, json}, "Stop all containers"},
		"of an older setup": {func(t *testing.T, _ *Facts, w *Request) { // its copy is outside of what conf.d/* imports
			rewrite(t, w.Containerd, "imports = ['conf.d/*']\n")
			if err := os.MkdirAll(filepath.Dir(containerdDropIn(w.Containerd)), 0o700); err != nil {
				t.Fatal(err)
			}
			rewrite(t, containerdDropIn(w.Containerd), containerdconf.DropInHead)
		}, []string{toml, start, "edit DIR/containerd/conf.d/overlayzfs.toml, kept as DIR/containerd/overlayzfs.toml.before-overlayzfs", again, check, json, docker, proof}, ""},
		"a running snapshotter": {func(_ *testing.T, f *Facts, _ *Request) { f.Units[services.Snapshotter] = running }, []string{
			toml, "restart overlayzfs-snapshotter.service", dropIn, imports, again, check, json, docker, proof,
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, w, dir := modernHost(t)
			tt.with(t, &f, &w)
			if f.Snapshotter != nil {
				gather(t, &f, w)
			}
			var steps []string
			for _, s := range decide(t, f, w) {
				steps = append(steps, strings.ReplaceAll(s, dir, "DIR"))
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" {
				t.Errorf("- wanted, + got:\n%s", diff)
			}
			p, err := Decide(f, w)
			if err != nil || !strings.Contains(strings.Join(p.Remaining, "\n"), tt.says) {
				t.Errorf("%q, %v", p.Remaining, err)
			}
		})
	}
}

// TestLiveRestore: containers on the former driver are not left behind.
func TestLiveRestore(t *testing.T) {
	f, w, _ := modernHost(t)
	f.Engine.Info.LiveRestore = true
	gather(t, &f, w)
	if _, err := Decide(f, w); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "docker stop") {
		t.Error(err)
	}
	f.Engine.Info.Running = 0
	if _, err := Decide(f, w); err != nil {
		t.Error(err)
	}
}

// TestDockerWithoutAUnit: a dockerd that answers is set up, too.
func TestDockerWithoutAUnit(t *testing.T) {
	for _, answers := range []bool{false, true} {
		f, w, _ := modernHost(t)
		w.Door = Plugin
		f.Units[services.Docker] = services.State{}
		if !answers {
			f.Engine = nil
		}
		if err := f.GatherServices(t.Context(), w); err != nil || f.NoDocker == answers {
			t.Errorf("it answers: %v; no Docker: %v, %v", answers, f.NoDocker, err)
		}
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherStoreStays: the images of a snapshotter that has a dataset would be out of sight.
func TestAnotherStoreStays(t *testing.T) {
	f, w, _ := modernHost(t)
	rewrite(t, w.SnapshotterConfig, "[store]\ndataset = \"tank/other\"\n")
	gather(t, &f, w)
	if _, err := Decide(f, w); !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "--dataset tank/other") {
		t.Error(err)
	}
}

// filesBelow returns the content of all files below a directory, by their paths, and the
// directories.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			all[path] = "directory"
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = string(raw)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// withoutServices leaves the steps that change files: what the others need, the tests of
// integration/systemd have.
func withoutServices(p Plan) Plan {
	var steps []Step
	for _, s := range p.Steps {
		if strings.HasPrefix(s.Do, "write ") || strings.HasPrefix(s.Do, "edit ") {
			steps = append(steps, s)
		}
	}
	p.Steps = steps
	return p
}

// TestUndoFiles ends a setup after each step that changes a file, once before and once after the
// change, and undoes it: every file is as before, byte by byte.
func TestUndoFiles(t *testing.T) {
	f, w, dir := modernHost(t)
	gather(t, &f, w)
	p, err := Decide(f, w)
	if err != nil {
		t.Fatal(err)
	}
	p = withoutServices(p)
	before, json := filesBelow(t, dir), filesBelow(t, filepath.Dir(f.File.Path))
	log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "state/setup.log")}
	for done := 1; done <= len(p.Steps); done++ {
		for _, killed := range []bool{false, true} {
			part := p
			part.Steps = append([]Step{}, p.Steps[:done]...)
			if killed {
				part.Steps[done-1].run = nil
				if err := log.Append(part.Steps[done-1].records...); err != nil {
					t.Fatal(err)
				}
				part.Steps = part.Steps[:done-1]
			}
			if _, err := part.Apply(t.Context(), nil, log); err != nil {
				t.Fatal(err)
			}
			systemd := &fakeSystemd{states: f.Units}
			undo, err := PlanUndo(t.Context(), nil, Undo{Log: log, Services: &services.Manager{Systemd: systemd}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := undo.Apply(t.Context(), nil, nil); err != nil || len(undo.Remaining) > 0 {
				t.Errorf("%d steps, killed %v: %q, %v", done, killed, undo.Remaining, err)
			}
			if diff := cmp.Diff(before, filesBelow(t, dir)) + cmp.Diff(json, filesBelow(t, filepath.Dir(f.File.Path))); diff != "" {
				t.Fatalf("%d steps, killed %v: %s", done, killed, diff)
			}
			if _, err := os.Stat(log.Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the log is left: %v", err)
			}
			if done == len(p.Steps) && !killed && strings.Join(systemd.told, ", ") != "daemon-reload, restart docker.service, daemon-reload, restart containerd.service, daemon-reload" {
				t.Errorf("%q", systemd.told)
			}
		}
	}
}

// TestUndoKeepsChanges: what somebody has changed since is not overwritten, and stays in the log.
func TestUndoKeepsChanges(t *testing.T) {
	f, w, dir := modernHost(t)
	gather(t, &f, w)
	p, err := Decide(f, w)
	if err != nil {
		t.Fatal(err)
	}
	log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}
	if _, err := withoutServices(p).Apply(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	rewrite(t, w.Containerd, "version = 2\n# later\n")
	m := &services.Manager{Systemd: &fakeSystemd{states: f.Units}}
	undo, err := PlanUndo(t.Context(), nil, Undo{Log: log, Services: m})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := undo.Apply(t.Context(), nil, nil); err != nil || !strings.Contains(strings.Join(undo.Remaining, "\n"), w.Containerd+" was changed after setup") {
		t.Errorf("%q, %v", undo.Remaining, err)
	}
	if now := filesBelow(t, dir); now[w.Containerd] != "version = 2\n# later\n" || now[w.SnapshotterConfig] != "# ours\n[store]\ndataset = \"\"\n" {
		t.Errorf("%v", now)
	}
	if left, err := log.Read(); len(left) != 1 || left[0].Path != w.Containerd || err != nil {
		t.Errorf("%v, %v", left, err)
	}
	again, err := PlanUndo(t.Context(), nil, Undo{Log: log, Services: m})
	if err != nil || len(again.Steps) > 0 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
}

// TestUndoThatIsKilled restarts what the killed one has not restarted.
func TestUndoThatIsKilled(t *testing.T) {
	f, w, _ := modernHost(t)
	gather(t, &f, w)
	p, err := Decide(f, w)
	if err != nil {
		t.Fatal(err)
	}
	log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}
	if _, err := withoutServices(p).Apply(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	systemd := &fakeSystemd{states: f.Units}
	u := Undo{Log: log, Services: &services.Manager{Systemd: systemd}}
	killed, err := PlanUndo(t.Context(), nil, u)
	if err != nil {
		t.Fatal(err)
	}
	killed.Steps = killed.Steps[:1]
	if _, err := killed.Apply(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	f.Units[services.Docker] = services.State{Loaded: true, Enabled: true} // it could not be started
	again, err := PlanUndo(t.Context(), nil, u)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Apply(t.Context(), nil, log); err != nil || !strings.Contains(strings.Join(systemd.told, ", "), "restart docker.service") {
		t.Errorf("%q, %v", systemd.told, err)
	}
	if left, err := log.Read(); len(left) > 0 || err != nil {
		t.Errorf("%v, %v", left, err)
	}
}

// TestWhoseContainerd: dockerd can start one of its own, with another configuration.
func TestWhoseContainerd(t *testing.T) {
	for address, want := range map[string]bool{"": true, "/run/containerd/containerd.sock": true, "/var/run/docker/containerd/containerd.sock": false} {
		f := Facts{Units: map[string]services.State{services.Containerd: running}, Engine: &Engine{Info: dockerd.Info{Containerd: address}}}
		if got := f.usesHostContainerd(); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
	if f := (Facts{Units: map[string]services.State{}}); f.usesHostContainerd() {
		t.Error("without a unit")
	}
}

// TestRemovalOfTheDropIn takes away what setup has added to containerd's configuration, and no file
// of somebody else.
func TestRemovalOfTheDropIn(t *testing.T) {
	for text, want := range map[string]int{containerdconf.DropInHead + "version = 2\n": 1, "version = 2\n": 0} {
		_, w, _ := modernHost(t)
		path := containerdDropIn(w.Containerd)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		rewrite(t, path, text)
		var p Plan
		if err := p.leaveContainerd(nil, Removal{Containerd: w.Containerd, Where: Location{Driver: "overlayzfs"}}); err != nil || len(p.Steps) != want {
			t.Fatalf("%q: %+v, %v", text, p, err)
		}
		if _, err := p.Apply(t.Context(), nil, nil); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) != (want == 1) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
