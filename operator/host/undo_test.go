package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// setUp is a host on which setup has written its files.
type setUp struct {
	f       Facts
	w       Request
	log     *setuplog.Log
	systemd *fakeSystemd
	undo    Undo
}

func newSetUp(t *testing.T) *setUp {
	t.Helper()
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
	return &setUp{f, w, log, systemd, Undo{
		Log: log, Services: &services.Manager{Systemd: systemd}, Config: f.File.Path, Driver: w.Driver, Engine: &Engine{Info: dockerd.Info{Driver: w.Driver}},
	}}
}

// plan returns the plan of an undo, and what remains.
func (s *setUp) plan(t *testing.T) (Plan, string) {
	t.Helper()
	p, err := PlanUndo(t.Context(), nil, s.undo)
	if err != nil {
		t.Fatal(err)
	}
	return p, strings.Join(p.Remaining, "\n")
}

// do undoes what it can, and returns what remains.
func (s *setUp) do(t *testing.T) string {
	t.Helper()
	p, remains := s.plan(t)
	if _, err := p.Apply(t.Context(), nil, s.log); err != nil {
		t.Fatal(err)
	}
	return remains
}

// records returns how many records the log has.
func (s *setUp) records(t *testing.T) int {
	t.Helper()
	all, err := s.log.Read()
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestUndoLeavesADockerdThatStarts: while daemon.json names the driver, nothing is undone.
func TestUndoLeavesADockerdThatStarts(t *testing.T) {
	for name, tt := range map[string]struct {
		with func(*testing.T, *setUp)
		done bool
	}{
		"a key was added": {func(t *testing.T, s *setUp) {
			rewrite(t, s.f.File.Path, `{"storage-driver": "overlayzfs", "log-level": "warn"}`)
		}, false},
		"the copy is missing": {func(t *testing.T, s *setUp) { remove(t, s.f.File.Path+configfile.BackupSuffix) }, false},
		"somebody's file": {func(t *testing.T, s *setUp) {
			s.undo.Config = filepath.Join(t.TempDir(), "daemon.json")
			rewrite(t, s.undo.Config, `{"storage-driver": "overlayzfs:latest"}`)
		}, false},
		"another driver": {func(t *testing.T, s *setUp) { rewrite(t, s.f.File.Path, `{"storage-driver": "overlay2"}`) }, true},
		"removed":        {func(t *testing.T, s *setUp) { remove(t, s.f.File.Path) }, true},
	} {
		s := newSetUp(t)
		tt.with(t, s)
		records := s.records(t)
		p, remains := s.plan(t)
		if done := len(p.Steps) > 3; done != tt.done || !done && len(p.Steps) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
		if says := strings.Contains(remains, "Take \"storage-driver\""); says == tt.done {
			t.Errorf("%s: %s", name, remains)
		}
		if s.do(t); !tt.done && (s.records(t) != records || len(s.systemd.told) > 0) {
			t.Errorf("%s: %d of %d records, %q", name, s.records(t), records, s.systemd.told)
		}
		if restarts := slices.Contains(s.systemd.told, "restart docker.service"); restarts != tt.done {
			t.Errorf("%s: %q", name, s.systemd.told)
		}
	}
}

// TestUndoKeepsContainerdRunning: the snapshotter stays as long as containerd names it.
func TestUndoKeepsContainerdRunning(t *testing.T) {
	s := newSetUp(t)
	dropIn := containerdDropIn(s.w.Containerd)
	raw, err := os.ReadFile(dropIn)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, dropIn, string(raw)+"# mine\n")
	if remains := s.do(t); !strings.Contains(remains, "by "+dropIn) || slices.Contains(s.systemd.told, "restart containerd.service") {
		t.Errorf("%s, %q", remains, s.systemd.told)
	}
	if text := filesBelow(t, filepath.Dir(s.w.SnapshotterConfig))[s.w.SnapshotterConfig]; !strings.Contains(text, s.w.Layers) {
		t.Errorf("snapshotter.toml: %s", text)
	}
	remove(t, dropIn)
	s.systemd.told, s.undo.Engine.Info.Driver = nil, "overlay2"
	if remains := s.do(t); remains != "" || s.records(t) > 0 || slices.Contains(s.systemd.told, "restart docker.service") || !slices.Contains(s.systemd.told, "restart containerd.service") {
		t.Errorf("%s, %d records, %q", remains, s.records(t), s.systemd.told)
	}
}

// TestUndoWaitsForServices: without a restart they still use what comes after their files.
func TestUndoWaitsForServices(t *testing.T) {
	for _, systemd := range []bool{false, true} {
		s := newSetUp(t)
		s.undo.NoRestart, s.undo.Loaded = true, true
		if !systemd {
			s.undo.Services = nil
		}
		for _, wait := range []string{"docker.service", "docker.service", "containerd.service", "containerd.service"} {
			if wait == "containerd.service" {
				s.undo.Engine.Info.Driver = "overlay2"
			}
			if remains := s.do(t); !strings.Contains(remains, "systemctl restart "+wait) || s.records(t) == 0 {
				t.Errorf("systemd %v: %s does not wait for %s", systemd, remains, wait)
			}
		}
		s.undo.Loaded, s.undo.NoRestart = false, false
		s.do(t)
		if text := filesBelow(t, filepath.Dir(s.w.SnapshotterConfig))[s.w.SnapshotterConfig]; strings.Contains(text, s.w.Layers) {
			t.Errorf("systemd %v: snapshotter.toml: %s", systemd, text)
		}
		if strings.Contains(strings.Join(s.systemd.told, " "), "docker") {
			t.Errorf("%q", s.systemd.told)
		}
	}
	if _, err := PlanUndo(t.Context(), nil, Undo{Log: &setuplog.Log{Path: filepath.Join(t.TempDir(), "x")}}); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "setup --remove") {
		t.Errorf("without a log: %v", err)
	}
}

// TestUndoAsksWhatRuns: what was restored without a restart, as by a setup that was killed, is
// restarted; what nothing has written is not.
func TestUndoAsksWhatRuns(t *testing.T) {
	s := newSetUp(t)
	s.undo.NoRestart = true
	s.do(t)
	s.undo.NoRestart = false
	if s.do(t); strings.Join(s.systemd.told, ", ") != "daemon-reload, restart docker.service, daemon-reload, restart containerd.service, daemon-reload" || s.records(t) > 0 {
		t.Errorf("%q, %d records", s.systemd.told, s.records(t))
	}
}

// TestUndoOfLiveRestore does not leave containers behind.
func TestUndoOfLiveRestore(t *testing.T) {
	s := newSetUp(t)
	s.undo.Engine.Info.LiveRestore, s.undo.Engine.Info.Running = true, 2
	if _, err := PlanUndo(t.Context(), nil, s.undo); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "docker stop") {
		t.Error(err)
	}
	s.undo.Engine.Info.Running = 0
	if p, _ := s.plan(t); len(p.Steps) == 0 {
		t.Errorf("%+v", p)
	}
}

// TestUndoComparesAgain: between the plan and a step somebody can change a file.
func TestUndoComparesAgain(t *testing.T) {
	s := newSetUp(t)
	p, _ := s.plan(t)
	rewrite(t, s.f.File.Path, `{"storage-driver": "overlayzfs", "debug": false}`)
	if _, err := p.Apply(t.Context(), nil, s.log); !errors.Is(err, fault.Busy) {
		t.Error(err)
	}
	if raw, err := os.ReadFile(s.f.File.Path); err != nil || !strings.Contains(string(raw), "false") {
		t.Errorf("%s, %v", raw, err)
	}
}

// TestUndoLeavesLayersInPlace: they go with the plugin.
func TestUndoLeavesLayersInPlace(t *testing.T) {
	for _, layers := range []bool{false, true} {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, "layers"), 0o700); err != nil {
			t.Fatal(err)
		}
		log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}
		if err := log.Append(setuplog.Record{Kind: setuplog.Plugin, Name: "overlayzfs"}); err != nil {
			t.Fatal(err)
		}
		p, err := PlanUndo(t.Context(), nil, Undo{Log: log, Layers: layers, Engine: &Engine{}, Where: Location{Plugin: &dockerstore.Plugin{}, Home: home}, Driver: "overlayzfs"})
		if stays := len(p.Steps) == 0; err != nil || stays == layers || stays != strings.Contains(strings.Join(p.Remaining, ""), "--undo --layers") {
			t.Errorf("layers %v: %+v, %v", layers, p, err)
		}
	}
}

// TestUndoOfTwoSetups gives the snapshotter the state of before the first, which failed.
func TestUndoOfTwoSetups(t *testing.T) {
	log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}
	if err := log.Append(setuplog.Record{Kind: setuplog.Unit, Name: services.Snapshotter}, setuplog.Record{Kind: setuplog.Unit, Name: services.Snapshotter, WasEnabled: true}); err != nil {
		t.Fatal(err)
	}
	systemd := &fakeSystemd{states: map[string]services.State{services.Snapshotter: running}}
	p, err := PlanUndo(t.Context(), nil, Undo{Log: log, Services: &services.Manager{Systemd: systemd}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	want := []string{"daemon-reload", "disable overlayzfs-snapshotter.service", "stop overlayzfs-snapshotter.service"}
	if diff := cmp.Diff(want, systemd.told); diff != "" {
		t.Error(diff)
	}
}

// TestUndoRemovesDirectoriesAlone, and no file or link that has come in their place.
func TestUndoRemovesDirectoriesAlone(t *testing.T) {
	dir := t.TempDir()
	link, file, empty, full := filepath.Join(dir, "link"), filepath.Join(dir, "file"), filepath.Join(dir, "empty"), filepath.Join(dir, "full")
	if err := errors.Join(os.Symlink(dir, link), os.WriteFile(file, nil, 0o600), os.Mkdir(empty, 0o700), os.MkdirAll(full+"/x", 0o700)); err != nil {
		t.Fatal(err)
	}
	log := &setuplog.Log{Path: filepath.Join(t.TempDir(), "setup.log")}
	for _, path := range []string{link, file, empty, full} {
		if err := log.Append(setuplog.Record{Kind: setuplog.Dir, Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := PlanUndo(t.Context(), nil, Undo{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{link: true, file: true, empty: false, full: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestUndoOfValues is about which properties are as setup has set them, and as before.
func TestUndoOfValues(t *testing.T) {
	const dataset = "tank/x"
	local := func(v zfs.Value) map[string]zfs.Property {
		return map[string]zfs.Property{"": {Value: v, Source: dataset}}
	}
	for name, tt := range map[string]struct {
		is          map[string]zfs.Property
		r           setuplog.Record
		former, has bool
	}{
		"set":            {local(zfs.Uint(2)), setuplog.Record{Property: "xattr", Value: "dir", After: "sa"}, false, true},
		"changed":        {local(zfs.Uint(0)), setuplog.Record{Property: "xattr", Value: "dir", After: "sa"}, false, false},
		"set back":       {local(zfs.Uint(1)), setuplog.Record{Property: "xattr", Value: "dir", After: "sa", Local: true}, true, false},
		"inherited":      {nil, setuplog.Record{Property: "xattr", Value: "dir", After: "sa"}, true, false},
		"a size":         {local(zfs.Uint(131072)), setuplog.Record{Property: "recordsize", Value: "16K", After: "128K", Local: true}, false, true},
		"another size":   {local(zfs.Uint(1 << 20)), setuplog.Record{Property: "recordsize", Value: "16K", After: "128K", Local: true}, false, false},
		"a level":        {local(zfs.Uint(15)), setuplog.Record{Property: "compression", Value: "off", After: "lz4", Local: true}, false, true},
		"a text":         {local(zfs.String("off")), setuplog.Record{Property: "sharenfs", Value: "on", After: "off", Local: true}, false, true},
		"a changed text": {local(zfs.String("rw")), setuplog.Record{Property: "sharenfs", Value: "on", After: "off", Local: true}, false, false},
	} {
		d := zfs.Dataset{Name: dataset, Properties: map[string]zfs.Property{}}
		if p, there := tt.is[""]; there {
			d.Properties[tt.r.Property] = p
		}
		if got := hasFormer(d, tt.r); got != tt.former {
			t.Errorf("%s: as before: %v", name, got)
		}
		if got := hasValue(d, property{tt.r.Property, tt.r.After}); got != tt.has {
			t.Errorf("%s: as set: %v", name, got)
		}
		if why, err := whyKept(d, tt.r); (why == changed) == tt.has || err != nil {
			t.Errorf("%s: %q, %v", name, why, err)
		}
	}
}

// TestUndoOfAPropertySetTwice: each record is undone, the newest first, unless the newest has to stay.
func TestUndoOfAPropertySetTwice(t *testing.T) {
	first := setuplog.Record{Name: "tank/x", Property: "sync", Value: "always", After: "disabled", Local: true}
	second := setuplog.Record{Name: "tank/x", Property: "sync", Value: "disabled", After: "standard", Local: true}
	for is, steps := range map[uint64]int{zfs.SyncStandard: 2, zfs.SyncDisabled: 1, zfs.SyncAlways: 0} {
		p := undoing{values: map[string]string{}, kept: map[setuplog.Record]bool{}}
		d := zfs.Dataset{Name: "tank/x", Properties: map[string]zfs.Property{"sync": {Value: zfs.Uint(is), Source: "tank/x"}}}
		if err := errors.Join(p.undoProperty(d, second), p.undoProperty(d, first)); err != nil || len(p.Steps) != steps {
			t.Errorf("sync=%s: %+v, %v", zfs.Word("sync", is), p.Plan, err)
		}
	}
}
