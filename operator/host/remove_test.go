package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// TestRemoval is about hosts whose layers are not destroyed; integration/e2e destroys some.
func TestRemoval(t *testing.T) {
	const ours = `{"experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/a", "OverlayZFS.size=1G"], "x": 1}`
	plugin := &dockerstore.Plugin{Name: "overlayzfs:latest", Enabled: true}
	engine := &Engine{}
	for name, tt := range map[string]struct {
		config  string
		with    func(*Removal)
		after   string // daemon.json
		steps   []string
		remains string
	}{
		"after setup":       {ours, func(r *Removal) { r.Where.Plugin, r.Engine, r.Driver = plugin, engine, "overlayzfs" }, `{"experimental": true, "x": 1}`, []string{"edit"}, "dockerd still uses the plugin"},
		"after the restart": {`{"x": 1}`, func(r *Removal) { r.Where.Plugin, r.Engine, r.Driver = plugin, engine, "overlay2" }, `{"x": 1}`, []string{"disable plugin", "remove plugin"}, ""},
		"dockerd stopped":   {`{"x": 1}`, func(r *Removal) { r.Where.Plugin = plugin }, `{"x": 1}`, nil, "Start dockerd"},
		"options of another driver stay": {
			`{"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G", "overlayzfs.size=1G"]}`, func(*Removal) {},
			`{"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]}`, []string{"edit"}, "",
		},
		"the snapshotter, with a storage driver before": {
			`{"storage-driver": "overlayzfs", "features": {"containerd-snapshotter": true, "x": true}, "y": 1}`, func(r *Removal) { writeBefore(t, r, `{"y": 1}`) },
			`{"features": {"x": true}, "y": 1}`, []string{"edit"}, "systemctl restart docker",
		},
		"the snapshotter, with containerd's store before": {
			`{"storage-driver": "overlayzfs", "features": {"containerd-snapshotter": true}}`, func(r *Removal) { writeBefore(t, r, `{"features": {"containerd-snapshotter": true}}`) },
			`{"features": {"containerd-snapshotter": true}}`, []string{"edit"}, "keeps its images in containerd",
		},
		"the snapshotter, and no file before": {
			`{"storage-driver": "overlayzfs", "features": {"containerd-snapshotter": true}}`, func(*Removal) {}, `{"features": {"containerd-snapshotter": true}}`, []string{"edit"}, `take "features.containerd-snapshotter" out of `,
		},
		"containerd's configuration": {`{}`, func(r *Removal) { writeProxy(t, r) }, `{}`, nil, "Take [proxy_plugins.overlayzfs]"},
		"nothing of ours":            {`{"storage-driver": "overlay2"}`, func(*Removal) {}, `{"storage-driver": "overlay2"}`, nil, ""},
		"in place":                   {`{}`, func(r *Removal) { r.Where.Plugin, r.Where.Home, r.Engine, r.Driver = plugin, "HOME", engine, "vfs" }, `{}`, nil, "lie in its directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "daemon.json")
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			r := Removal{Where: Location{Driver: "overlayzfs", Root: dir}, Config: file, Systemd: dir}
			tt.with(&r)
			if r.Where.Home != "" {
				r.Where.Home = filepath.Join(dir, "home")
				if err := os.MkdirAll(filepath.Join(r.Where.Home, "l"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			p, err := PlanRemoval(nil, r)
			if err != nil {
				t.Fatal(err)
			}
			var steps []string
			for _, s := range p.Steps {
				steps = append(steps, strings.Join(strings.Fields(s.Do)[:1+strings.Count(s.Do, " plugin ")], " "))
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" {
				t.Errorf("- wanted, + got:\n%s", diff)
			}
			if text := strings.Join(p.Remaining, "\n"); !strings.Contains(text, tt.remains) {
				t.Errorf("it says %s", text)
			}
			if len(p.Steps) == 1 {
				if _, err := p.Apply(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			if raw, err := os.ReadFile(file); err != nil || string(raw) != tt.after {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
}

// TestRemovalOfDropIns removes those of setup, and no file of a person.
func TestRemovalOfDropIns(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "docker.service.d", dropIn), filepath.Join(dir, "overlayzfs-snapshotter.service.d", dropIn)
	for path, text := range map[string]string{ours: dropInHead + "[Unit]\n", theirs: "[Unit]\n"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := PlanRemoval(nil, Removal{Where: Location{Driver: "overlayzfs"}, Config: filepath.Join(dir, "none"), Systemd: dir})
	if err != nil || len(p.Steps) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := p.Apply(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ours); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ours: %v", err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("theirs: %v", err)
	}
}

// writeBefore writes the daemon.json of before setup.
func writeBefore(t *testing.T, r *Removal, text string) {
	t.Helper()
	if err := os.WriteFile(r.Config+".before-overlayzfs", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeProxy writes containerd's configuration with the snapshotter in it.
func writeProxy(t *testing.T, r *Removal) {
	t.Helper()
	r.Containerd = r.Config + ".toml"
	if err := os.WriteFile(r.Containerd, []byte("[proxy_plugins.overlayzfs]\ntype = \"snapshot\"\naddress = \"/run/x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
