package main

import (
	"bytes"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
)

// TestWriteSetup compares the plans as setup prints them.
func TestWriteSetup(t *testing.T) {
	const config = `{"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]}`
	read, err := dockerconf.Decode([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	file := dockerconf.File{File: configfile.File{Path: "/etc/docker/daemon.json", Raw: []byte(config), Exists: true}}
	wanted := host.Request{
		Parent: "tank/docker", Layers: "tank/docker/layers", Root: "/var/lib/docker", Driver: "overlayzfs", Door: host.Plugin,
		Sync: "disabled", Options: []string{"overlayzfs.size=10G"},
	}
	later := wanted
	later.Parent, later.Door, later.Options = "", host.Snapshotter, nil
	moved := wanted
	moved.MoveRoot = true
	for name, tt := range map[string]struct {
		facts  host.Facts
		wanted host.Request
	}{
		"setup":             {host.Facts{Module: "2.3.9", File: file, Config: read, Plugin: &dockerstore.Plugin{Enabled: true}}, wanted},
		"setup-logged":      {host.Facts{Module: "2.3.9", File: file, Config: read, Plugin: &dockerstore.Plugin{Enabled: true}}, wanted},
		"setup-full":        {host.Facts{Module: "2.3.9", File: file, Config: read, RootHasContent: true}, wanted},
		"setup-move":        {host.Facts{Module: "2.3.9", File: file, Config: read, RootHasContent: true, VolumesHaveContent: true}, moved},
		"setup-snapshotter": {host.Facts{Module: "2.3.9", File: file, Config: read}, later},
	} {
		plan, err := host.Decide(tt.facts, tt.wanted)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := writeSetup(&out, plan, name == "setup-logged"); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", out.String())
		out.Reset()
		if err := writeJSON(&out, plan); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", out.String())
	}
	var out bytes.Buffer
	if err := writeSetup(&out, host.Plan{Remaining: []string{"x"}}, true); err != nil {
		t.Fatal(err)
	}
	golden(t, "setup-nothing.txt", out.String())
}

// TestWriteRemoval compares what `overlayzfs setup --remove` prints.
func TestWriteRemoval(t *testing.T) {
	var out bytes.Buffer
	plan := host.Plan{Steps: []host.Step{{Do: "disable plugin overlayzfs:latest"}, {Do: "remove plugin overlayzfs:latest"}}, Remaining: []string{"Dataset tank/docker stays: it holds data-root."}}
	if err := writeRemoval(&out, plan, ""); err != nil {
		t.Fatal(err)
	}
	golden(t, "setup-remove.txt", out.String())
	out.Reset()
	if err := writeRemoval(&out, host.Plan{}, "Nothing to remove now."); err != nil {
		t.Fatal(err)
	}
	golden(t, "setup-remove-nothing.txt", out.String())
}

// TestSetupUsage checks the errors of wrong calls.
func TestSetupUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"setup"}, "missing argument POOL/NAME"},
		{[]string{"setup", "tank/@"}, "tank/@"},
		{[]string{"setup", "tank/a", "--way", "x"}, "for --way"},
		{[]string{"setup", "tank/a", "--sync", "always"}, "for --sync"},
		{[]string{"setup", "tank/a", "--host", "unix:///nowhere"}, "cannot ask dockerd"},
		{[]string{"setup", "tank/a", "--way", "plugin", "--json"}, "--yes"},
		{[]string{"setup", "tank/a", "--layers"}, "means nothing without --remove"},
		{[]string{"setup", "--remove", "tank/a"}, "name the layers with --dataset"},
		{[]string{"setup", "--remove", "--opt", "overlayzfs.size=1G"}, "--opt means nothing"},
		{[]string{"setup", "--remove", "--move-data-root"}, "means nothing with --remove"},
		{[]string{"setup", "--dataset", "tank/a", "--move-data-root"}, "--move-data-root needs POOL/NAME"},
		{[]string{"setup", "--remove", "--sync", "disabled"}, "means nothing with --remove"},
		{[]string{"setup", "--undo", "--remove"}, "leave one of the two out"},
		{[]string{"setup", "--undo", "tank/a"}, "leave tank/a out"},
		{[]string{"setup", "--undo", "--pods"}, "means nothing with --undo"},
		{[]string{"setup", "--undo", "--opt", "overlayzfs.size=1G"}, "--opt means nothing"},
		{[]string{"setup", "--undo", "--config-file", "/srv/daemon.json"}, "use --remove"},
		{[]string{"setup", "tank/a", "--way", "plugin", "--pods"}, "--pods means nothing"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, testConsole(t, &out)); code != exitUsage || !bytes.Contains(out.Bytes(), []byte(tt.says)) {
			t.Errorf("%q exits with %d and says %s", tt.args, code, &out)
		}
	}
}
