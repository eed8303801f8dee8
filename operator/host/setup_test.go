package host

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/zfs"
)

var wanted = Request{Parent: "tank/docker", Layers: "tank/docker/layers", Root: "/var/lib/docker", Driver: "overlayzfs", Door: Plugin}

// facts are those of a host on which nothing was done, with a daemon.json.
func facts(t *testing.T, config string) Facts {
	t.Helper()
	path := filepath.Join(t.TempDir(), "daemon.json")
	if config != "" {
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := dockerconf.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dockerconf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return Facts{Module: "2.3.9-1", Datasets: map[string]zfs.Dataset{}, File: file, Config: c, Plugin: &dockerstore.Plugin{Enabled: true}, SnapshotterThere: true}
}

func decide(t *testing.T, f Facts, w Request) []string {
	t.Helper()
	p, err := Decide(f, w)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range p.Steps {
		do, _, _ := strings.Cut(s.Do, ": ")
		steps = append(steps, strings.ReplaceAll(strings.ReplaceAll(do, f.File.Path, "FILE"), " for the datasets below", ""))
	}
	return steps
}

// newDataset returns a dataset as setup makes it.
func newDataset(name, mountpoint string) zfs.Dataset {
	number := func(n uint64) zfs.Property { return zfs.Property{Value: zfs.Uint(n), Source: name} }
	return zfs.Dataset{Name: name, Properties: map[string]zfs.Property{
		"compression": number(15), "xattr": number(2), "dnodesize": number(1), "acltype": number(1), "atime": number(0), "recordsize": number(131072),
		"mountpoint": {Value: zfs.String(mountpoint), Source: name},
	}}
}

// noauto is a dataset that is not mounted at boot.
func noauto(d zfs.Dataset) zfs.Dataset {
	d.Properties = maps.Clone(d.Properties)
	d.Properties["canmount"] = zfs.Property{Value: zfs.Uint(2), Source: d.Name}
	return d
}

// TestTheSteps is long because it is one table, with a row for each state of a host.
func TestTheSteps(t *testing.T) {
	const done = `{"experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/docker/layers"]}`
	layers, parent, volumes := newDataset("tank/docker/layers", "legacy"), newDataset("tank/docker", "/var/lib/docker"), newDataset("tank/docker/volumes", "/var/lib/docker/volumes")
	for name, tt := range map[string]struct {
		config string
		with   func(*Facts, *Request)
		steps  []string
	}{
		"a new host": {"", func(*Facts, *Request) {}, []string{
			"create dataset tank/docker for data-root", "mount dataset tank/docker on /var/lib/docker, data-root", "create dataset tank/docker/layers for layers",
			"create dataset tank/docker/volumes for volumes", "mount dataset tank/docker/volumes on /var/lib/docker/volumes, volumes", "write FILE",
		}},
		"a data-root with content": {`{"debug": true}`, func(f *Facts, _ *Request) { f.RootHasContent = true }, []string{
			"create dataset tank/docker", "create dataset tank/docker/layers for layers", "edit FILE, kept as FILE.before-overlayzfs",
		}},
		"layers alone": {"", func(_ *Facts, w *Request) { w.Parent, w.Layers = "", "tank/layers" }, []string{"create dataset tank/layers for layers", "write FILE"}},
		"all is done": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"], f.Datasets["tank/docker/volumes"] = parent, layers, volumes
			f.RootOn, f.RootHasContent, f.VolumesOn = "tank/docker", true, "tank/docker/volumes"
		}, nil},
		"not mounted yet": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"], f.Datasets["tank/docker/volumes"] = parent, layers, volumes
		}, []string{"mount dataset tank/docker on /var/lib/docker, data-root", "mount dataset tank/docker/volumes on /var/lib/docker/volumes, volumes"}},
		"content was moved away": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"] = newDataset("tank/docker", "none"), layers
		}, []string{
			"set mountpoint=/var/lib/docker on tank/docker, where it is none", "mount dataset tank/docker on /var/lib/docker, data-root",
			"create dataset tank/docker/volumes for volumes", "mount dataset tank/docker/volumes on /var/lib/docker/volumes, volumes",
		}},
		"a data-root mounted by fstab": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"] = newDataset("tank/docker", "legacy"), layers
			f.RootOn, f.RootHasContent = "tank/docker", true
		}, nil},
		"a data-root that is not mounted at boot": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"] = noauto(parent), layers
			f.RootOn, f.RootHasContent = "tank/docker", true
		}, nil},
		"volumes that are not mounted at boot": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"], f.Datasets["tank/docker/volumes"] = parent, layers, noauto(volumes)
			f.RootOn, f.RootHasContent = "tank/docker", true
		}, []string{"set canmount=on on tank/docker/volumes, where it is noauto", "mount dataset tank/docker/volumes on /var/lib/docker/volumes, volumes"}},
		"others that inherit nothing": {done, func(f *Facts, _ *Request) {
			f.Datasets["tank/docker"], f.Datasets["tank/docker/layers"], f.Datasets["tank/docker/volumes"] = parent, layers, volumes
			f.RootOn, f.RootHasContent, f.VolumesOn, f.ForeignDatasets = "tank/docker", true, "tank/docker/volumes", []string{"tank/docker/mine"}
		}, nil},
		"properties": {done, func(f *Facts, w *Request) {
			w.Parent, w.Sync = "", "disabled"
			other := newDataset("tank/docker/layers", "legacy")
			other.Properties["xattr"] = zfs.Property{Value: zfs.Uint(1), Source: "tank"}
			f.Datasets["tank/docker/layers"] = other
		}, []string{
			"set xattr=sa on tank/docker/layers, where it is dir", "set sync=disabled on tank/docker/layers, where it is standard",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := facts(t, tt.config), wanted
			tt.with(&f, &w)
			if diff := cmp.Diff(tt.steps, decide(t, f, w)); diff != "" {
				t.Errorf("- wanted, + got:\n%s", diff)
			}
		})
	}
}

// TestDaemonJSON is about what a file becomes.
func TestDaemonJSON(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after string
		with          func(*Facts, *Request)
	}{
		"options of another driver go": {
			`{"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"], "x": 1}`,
			`{"storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.dataset=tank/docker/layers", "overlayzfs.size=2G"], "x": 1, "experimental": true}`,
			func(_ *Facts, w *Request) { w.Options = []string{"overlayzfs.size=2G"} },
		},
		"options of ours stay": {
			`{"experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.quota=off", "OverlayZFS.Size=1G", "overlayzfs.dataset=tank/old"]}`,
			`{"experimental": true, "storage-driver": "overlayzfs", "storage-opts": ["overlayzfs.quota=off", "overlayzfs.size=2G", "overlayzfs.dataset=tank/docker/layers"]}`,
			func(_ *Facts, w *Request) { w.Options = []string{"overlayzfs.size=2G"} },
		},
		"the plugin names the dataset": {
			`{"features": {"containerd-snapshotter": true}, "experimental": true, "storage-driver": "overlayzfs"}`,
			`{"features": {}, "experimental": true, "storage-driver": "overlayzfs"}`,
			func(f *Facts, _ *Request) { f.PluginDataset = "tank/docker/layers" },
		},
		"the snapshotter": {
			`{"storage-driver": "overlay2", "features": {"buildkit": true}}`,
			"{\"storage-driver\": \"overlayzfs\", \"features\": {\"buildkit\": true, \"containerd-snapshotter\": true}, \"data-root\": \"/srv\"}",
			func(_ *Facts, w *Request) { w.Door, w.Root = Snapshotter, "/srv" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := facts(t, tt.before), wanted
			f.Datasets[w.Layers], w.Parent = newDataset(w.Layers, "legacy"), ""
			tt.with(&f, &w)
			p, err := Decide(f, w)
			if err != nil || len(p.Steps) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			if _, err := p.Apply(t.Context(), nil, nil); err != nil {
				t.Fatal(err)
			}
			after, err := dockerconf.Load(f.File.Path)
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			got, want = string(after.Raw), tt.after
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("- wanted, + got:\n%s", diff)
			}
			if f.Config, err = dockerconf.Read(f.File.Path); err != nil {
				t.Fatal(err)
			}
			f.File = after
			if again := decide(t, f, w); len(again) > 0 {
				t.Errorf("a second time: %q", again)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, with := range map[string]func(*Facts, *Request){
		"something else in it": func(f *Facts, _ *Request) { f.Occupied = true },
		"userns-remap":         func(f *Facts, _ *Request) { f.Config.UsernsRemap = "default" },
		"an unknown option":    func(_ *Facts, w *Request) { w.Options = []string{"overlayzfs.nonsense=1"} },
		"another's parent":     func(f *Facts, w *Request) { f.Datasets[w.Parent] = newDataset(w.Parent, "/srv") },
		"others would inherit": func(f *Facts, w *Request) {
			f.Datasets[w.Parent], f.ForeignDatasets = newDataset(w.Parent, "none"), []string{"tank/docker/mine"}
		},
		"others' properties": func(f *Facts, w *Request) {
			f.Datasets[w.Parent], f.ForeignDatasets = newDataset(w.Parent, w.Root), []string{"tank/docker/mine"}
			f.Datasets[w.Parent].Properties["compression"] = zfs.Property{Value: zfs.Uint(2), Source: w.Parent}
		},
		"a whole pool": func(f *Facts, w *Request) {
			w.Parent, w.Layers = "tank", "tank/layers"
			f.Datasets[w.Parent] = newDataset(w.Parent, "none")
		},
		"a whole pool for layers": func(f *Facts, w *Request) {
			w.Parent, w.Layers, w.Sync = "", "tank", "disabled"
			f.Datasets[w.Layers] = newDataset(w.Layers, "legacy")
		},
		"not mounted at boot": func(f *Facts, w *Request) { f.Datasets[w.Parent] = noauto(newDataset(w.Parent, w.Root)) },
		"a broken file":       func(f *Facts, _ *Request) { f.File.Raw = []byte("{,") },
	} {
		f, w := facts(t, ""), wanted
		with(&f, &w)
		if p, err := Decide(f, w); err == nil || len(p.Steps) > 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestOptionsThatWouldBeIgnored are refused by name, and with where to say it.
func TestOptionsThatWouldBeIgnored(t *testing.T) {
	for option, tt := range map[string]struct {
		way  Door
		says string
	}{
		"overlayzfs.size=1G":             {Snapshotter, "/etc/overlayzfs/snapshotter.toml"},
		"OverlayZFS.dataset = tank/mine": {Plugin, "choose the dataset with --dataset"},
	} {
		w := wanted
		w.Door, w.Options = tt.way, []string{option}
		if _, err := Decide(facts(t, ""), w); err == nil || !strings.Contains(err.Error(), "--opt "+option) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func TestUndoSaysTheLastFirst(t *testing.T) {
	p, err := Decide(facts(t, ""), wanted)
	if err != nil {
		t.Fatal(err)
	}
	undo := p.UndoCommands(len(p.Steps) - 1) // without the file, whose name differs
	want := []string{"umount /var/lib/docker/volumes", "zfs destroy tank/docker/volumes", "zfs destroy tank/docker/layers", "umount /var/lib/docker", "zfs destroy tank/docker"}
	if diff := cmp.Diff(want, undo); diff != "" {
		t.Error(diff)
	}
}

func TestWordsBecomeWhatZFSTakes(t *testing.T) {
	packed, err := encodeProperties([]property{{"recordsize", "128K"}, {"xattr", "sa"}})
	if err != nil || packed["recordsize"].Uint() != 131072 || packed["xattr"].String() != "sa" {
		t.Errorf("%v, %v", packed, err)
	}
	if _, err := encodeProperties([]property{{"recordsize", "much"}}); !errors.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

// TestCorrections are about what a new dataset must not inherit.
func TestCorrections(t *testing.T) {
	plain := zfs.NameRules{CaseSensitive: true}
	set := func(name string, value zfs.Value) zfs.Dataset {
		return zfs.Dataset{Name: "tank", Properties: map[string]zfs.Property{name: {Value: value, Source: "tank"}}}
	}
	for name, tt := range map[string]struct {
		above *Above
		want  string
	}{
		"nothing known":  {nil, ""},
		"nothing set":    {&Above{zfs.Dataset{Name: "tank"}, plain}, ""},
		"normalization":  {&Above{zfs.Dataset{}, zfs.NameRules{Normalized: true, UTF8Only: true, CaseSensitive: true}}, " normalization=none utf8only=off"},
		"utf8only":       {&Above{zfs.Dataset{}, zfs.NameRules{UTF8Only: true, CaseSensitive: true}}, " normalization=none utf8only=off"},
		"insensitive":    {&Above{zfs.Dataset{}, zfs.NameRules{}}, " casesensitivity=sensitive"},
		"readonly":       {&Above{set("readonly", zfs.Uint(1)), plain}, " readonly=off"},
		"snapdir":        {&Above{set("snapdir", zfs.Uint(1)), plain}, " snapdir=hidden"},
		"no snapdir":     {&Above{set("snapdir", zfs.Uint(2)), plain}, " snapdir=hidden"},
		"exec":           {&Above{set("exec", zfs.Uint(0)), plain}, " exec=on"},
		"setuid":         {&Above{set("setuid", zfs.Uint(0)), plain}, " setuid=on"},
		"devices":        {&Above{set("devices", zfs.Uint(0)), plain}, " devices=on"},
		"devices are on": {&Above{set("devices", zfs.Uint(1)), plain}, ""},
		"aclmode":        {&Above{set("aclmode", zfs.Uint(4)), plain}, " aclmode=discard"},
		"sharenfs":       {&Above{set("sharenfs", zfs.String("rw=@10.0.0.0/8")), plain}, " sharenfs=off"},
		"sharesmb":       {&Above{set("sharesmb", zfs.String("on")), plain}, " sharesmb=off"},
	} {
		if got := formatProperties(tt.above.corrections()); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestPlaces are about datasets above those that are to be created.
func TestPlaces(t *testing.T) {
	key := zfs.Dataset{Name: "tank", Properties: map[string]zfs.Property{
		"keystatus": {Value: zfs.Uint(1)}, "encryptionroot": {Value: zfs.String("tank")},
	}}
	rules := zfs.NameRules{Normalized: true, CaseSensitive: true}
	for says, with := range map[string]func(*Facts, *Request){
		"zfs create -p -o mountpoint=none tank/a": func(f *Facts, w *Request) {
			w.Parent, w.Layers = "", "tank/a/layers"
			f.Above = map[string]*Above{w.Layers: {zfs.Dataset{Name: "tank"}, zfs.NameRules{CaseSensitive: true}}}
		},
		"zfs load-key tank": func(f *Facts, w *Request) {
			f.Above = map[string]*Above{w.Parent: {key, zfs.NameRules{CaseSensitive: true}}}
		},
		"only a new dataset": func(f *Facts, w *Request) {
			f.Datasets[w.Layers], f.Rules = newDataset(w.Layers, "legacy"), &rules
		},
	} {
		f, w := facts(t, ""), wanted
		with(&f, &w)
		if _, err := Decide(f, w); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

// TestDropIns are about what systemd is told.
func TestDropIns(t *testing.T) {
	secret := zfs.Dataset{Name: "tank/se-cret", Properties: map[string]zfs.Property{"encryptionroot": {Value: zfs.String("tank/se-cret")}}}
	const docker, plugin = dropInHead + "[Unit]\nAfter=zfs-import.target zfs-load-key.service zfs-mount.service", "\n[Service]\nEnvironment=DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1\n"
	for name, tt := range map[string]struct {
		with func(*Facts, *Request)
		want string
	}{
		"a new host":             {func(*Facts, *Request) {}, docker + "\nRequiresMountsFor=/var/lib/docker\nAssertPathIsMountPoint=/var/lib/docker\nAssertPathIsMountPoint=/var/lib/docker/volumes\n" + plugin},
		"a data-root that stays": {func(f *Facts, _ *Request) { f.RootHasContent = true }, docker + "\n" + plugin},
		"a data-root on ZFS": {func(f *Facts, w *Request) {
			w.Parent, w.Layers, w.Root, f.RootOn = "", "tank/layers", "/srv/a b", "tank/x"
		}, docker + "\nRequiresMountsFor=/srv/a\\x20b\nAssertPathIsMountPoint=/srv/a\\x20b\n" + plugin},
		"encryption": {func(f *Facts, w *Request) {
			w.Parent, w.Layers, w.Door = "", "tank/se-cret/layers", Snapshotter
			f.Above = map[string]*Above{w.Layers: {secret, zfs.NameRules{CaseSensitive: true}}}
		}, docker + ` zfs-load-key@tank-se\x2dcret.service` + "\n"},
	} {
		dir := t.TempDir()
		f, w := facts(t, ""), wanted
		w.Systemd = dir
		tt.with(&f, &w)
		var err error
		if f.DropIns, err = readDropIns(w); err != nil {
			t.Fatal(err)
		}
		p, err := Decide(f, w)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "docker.service.d/overlayzfs.conf")
		for _, s := range p.Steps {
			if strings.HasPrefix(s.Do, "write "+dir) {
				if err := s.run(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		raw, err := os.ReadFile(path)
		if diff := cmp.Diff(tt.want, string(raw)); diff != "" || err != nil {
			t.Errorf("%s: %v, - wanted, + got:\n%s", name, err, diff)
		}
		if !strings.HasPrefix(p.Remaining[len(p.Remaining)-1], "systemctl daemon-reload; ") {
			t.Errorf("%s: %q", name, p.Remaining)
		}
		if f.DropIns, err = readDropIns(w); err != nil {
			t.Fatal(err)
		}
		if again := decide(t, f, w); strings.Contains(strings.Join(again, " "), dir) {
			t.Errorf("%s, a second time: %q", name, again)
		}
	}
}

// TestDropInOfSomebody is kept as a copy, also below our first line, and not replaced when it has
// changed since the plan.
func TestDropInOfSomebody(t *testing.T) {
	const mine = dropInHead + "[Service]\nEnvironment=MINE=1\n"
	for _, later := range []bool{false, true} {
		f, w := facts(t, ""), wanted
		w.Systemd = t.TempDir()
		path := filepath.Join(w.Systemd, "docker.service.d/overlayzfs.conf")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(mine), 0o600)); err != nil {
			t.Fatal(err)
		}
		var err error
		if f.DropIns, err = readDropIns(w); err != nil {
			t.Fatal(err)
		}
		var p Plan
		if err := p.planBoot(f, w); err != nil || len(p.Steps) != 1 {
			t.Fatalf("%+v, %v", p, err)
		}
		kept := path + ".before-overlayzfs"
		if later {
			rewrite(t, path, mine+"# later\n")
			kept = path
		}
		if _, err := p.Apply(t.Context(), nil, nil); errors.Is(err, fault.Busy) != later {
			t.Errorf("changed %v: %v", later, err)
		}
		if raw, err := os.ReadFile(kept); err != nil || !strings.Contains(string(raw), "MINE=1") {
			t.Errorf("changed %v: %q, %v", later, raw, err)
		}
	}
}

// TestDropInOfReadOnlySystem shows the settings where they cannot be written.
func TestDropInOfReadOnlySystem(t *testing.T) {
	f, w := facts(t, ""), wanted
	f.DropIns = map[string]DropIn{"docker.service": {Path: "/etc/x", ReadOnly: "/etc is on a read-only file system"}}
	p, err := Decide(f, w)
	if text := strings.Join(p.Remaining, "\n"); err != nil || !strings.Contains(text, "AssertPathIsMountPoint=/var/lib/docker\n") || !strings.Contains(text, "read-only") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestDriverIsThereFirst: daemon.json names no storage driver that dockerd lacks.
func TestDriverIsThereFirst(t *testing.T) {
	const driver = `edit FILE, kept as FILE.before-overlayzfs`
	engine := &Engine{Version: "26.1.5"}
	for name, tt := range map[string]struct {
		config  string
		with    func(*Facts, *Request)
		steps   []string
		pending string // a part of what remains
	}{
		"enabled":           {`{}`, func(*Facts, *Request) {}, []string{driver}, ""},
		"disabled, stopped": {`{}`, func(f *Facts, _ *Request) { f.Plugin.Enabled = false }, nil, "overlayzfs plugin enable"},
		"disabled, running": {`{}`, func(f *Facts, _ *Request) { f.Plugin.Enabled, f.Engine = false, engine }, []string{"enable plugin overlayzfs", driver}, ""},
		"none, running":     {`{}`, func(f *Facts, _ *Request) { f.Plugin, f.Engine = nil, engine }, nil, "docker plugin create overlayzfs build/plugin"},
		"none, and a package": {`{}`, func(f *Facts, w *Request) { f.Plugin, f.Engine, w.PluginDir = nil, engine, "/p" }, []string{
			"create plugin overlayzfs from /p", "enable plugin overlayzfs", driver,
		}, ""},
		"a package, stopped": {`{}`, func(f *Facts, w *Request) { f.Plugin, w.PluginDir = nil, "/p" }, nil, "Start dockerd with its present storage driver"},
		"the data-root":      {`{"data-root": "/x"}`, func(f *Facts, _ *Request) { f.Plugin = nil }, []string{driver}, "docker plugin create"},
		"a driver of before": {`{"storage-driver": "overlayzfs"}`, func(f *Facts, _ *Request) { f.Plugin = nil }, []string{driver}, ""},
		"the snapshotter":    {`{}`, func(_ *Facts, w *Request) { w.Door = Snapshotter }, []string{driver}, ""},
		"no snapshotter":     {`{}`, func(f *Facts, w *Request) { w.Door, f.SnapshotterThere = Snapshotter, false }, nil, "Install the snapshotter"},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := facts(t, tt.config), wanted
			w.Parent = ""
			f.Datasets[w.Layers] = newDataset(w.Layers, "legacy")
			tt.with(&f, &w)
			if diff := cmp.Diff(tt.steps, decide(t, f, w)); diff != "" {
				t.Errorf("- wanted, + got:\n%s", diff)
			}
			p, err := Decide(f, w)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(p.Remaining, "\n"); p.Pending != (tt.pending != "") || !strings.Contains(text, tt.pending) {
				t.Errorf("pending is %v: %s", p.Pending, text)
			}
			if raw := f.File.Raw; tt.pending != "" && len(p.Steps) > 0 {
				if _, err := p.Apply(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				after, err := dockerconf.Read(f.File.Path)
				if err != nil || after.StorageDriver != "" || after.Experimental || len(after.StorageOpts) > 0 {
					t.Errorf("%s became %+v, %v", raw, after, err)
				}
			}
		})
	}
	f := facts(t, "")
	f.Engine = &Engine{Version: "28.5.2"}
	if _, err := Decide(f, wanted); err == nil || !strings.Contains(err.Error(), "--way snapshotter") {
		t.Errorf("the plugin for Docker 28: %v", err)
	}
}

// TestReadOnlyConfig is shown, not failed.
func TestReadOnlyConfig(t *testing.T) {
	f, w := facts(t, `{"features": {"containerd-snapshotter": true}}`), wanted
	w.Parent, f.FileReadOnly = "", "/nix is on a read-only file system"
	f.Datasets[w.Layers] = newDataset(w.Layers, "legacy")
	p, err := Decide(f, w)
	text := strings.Join(p.Remaining, "\n")
	if err != nil || len(p.Steps) > 0 || !p.Pending {
		t.Errorf("%+v, %v", p, err)
	}
	for _, want := range []string{"/nix is on a read-only", `"storage-driver": "overlayzfs"`, `"overlayzfs.dataset=tank/docker/layers"`, `without "features.containerd-snapshotter"`} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not show %s:\n%s", want, text)
		}
	}
}
