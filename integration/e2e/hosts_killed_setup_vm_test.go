//go:build vm

package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// killLeaving takes overlayzfs from the host and sets it up again, beside an engine that has
// another driver by now. Volumes stay as they are.
func (h *killedHost) killLeaving(t *testing.T) {
	const leaving, again = "setup --remove --layers", "setup, again"
	saved := inguest.MakeDiskDir(t)
	changeDataset(t, h.dataset, func(dir string) { run(t, "cp", "-a", dir, saved+"/layers") })
	records := filepath.Join(h.root, "image", engine.PluginName)
	run(t, "cp", "-a", records, saved+"/records")
	// Few kills go without an engine: it takes the time of many.
	withEngine := !isShort()
	var remove, install []string
	if withEngine {
		h.useVFS(t)
		remove = []string{"--host", h.Host()}
		install = append(remove, "--plugin-dir", engine.PluginDir(t))
	}
	volumes := h.volumes(t)
	remove = append([]string{"setup", "--remove", "--layers", "--yes", "--config-file", h.config}, remove...)
	install = append(h.setupArgs(), install...)
	var want string
	for !h.isDone(leaving, again) {
		h.untilDone(t, leaving, func() []*exec.Cmd { return operate(remove...) })
		h.requireGone(t, records, remove)
		volumes.require(t, leaving, asItWas)

		must(t, os.WriteFile(h.config, []byte(`{"log-level": "warn", "storage-driver": "vfs"}`), 0o644))
		h.untilDone(t, again, func() []*exec.Cmd { return operate(install...) })
		volumes.require(t, again, asItWas)
		state := describeHost(t, h.records, h.config)
		if withEngine {
			state += h.Docker(t, "plugin", "inspect", "-f", "{{.Name}} {{.Enabled}}", engine.PluginName)
		}
		if want == "" {
			want = state
		}
		if state != want {
			t.Fatalf("%s: the host is\n%s\nand was\n%s", again, state, want)
		}
		changeDataset(t, h.dataset, func(dir string) { run(t, "cp", "-aT", saved+"/layers", dir) })
		run(t, "cp", "-a", saved+"/records", records)
		limited := h.dataset + "/limited"
		run(t, "zfs", "create", "-o", "mountpoint=legacy", "-o", "overlayzfs:layer=limited", limited)
		run(t, "zfs", "snapshot", limited+"@other")
	}
	h.report(t, leaving, again)
	if !withEngine {
		return
	}
	h.Stop(t)
	h.Again(t) // on the driver that setup wrote
	if out := h.Docker(t, "ps", "-aq"); out == "" {
		t.Error("the containers are not there")
	}
	h.StartContainers(t, "plain")
	requireIntact(t, h.Engine, "plain")
	h.StopContainers(t, "plain")
	h.Stop(t)
	h.awaitUnmounted(t)
}

// useVFS starts the engine on vfs with the daemon.json of setup, whose storage driver setup
// removes as another start would need.
func (h *killedHost) useVFS(t testing.TB) {
	t.Helper()
	ours, err := os.ReadFile(h.config)
	must(t, err)
	must(t, os.WriteFile(h.config, []byte(`{"log-level": "warn", "storage-driver": "vfs", "experimental": true}`), 0o644))
	h.Again(t)
	must(t, os.WriteFile(h.config, ours, 0o644))
}

// requireGone fails the test unless the host has nothing of overlayzfs but volumes.
func (h *killedHost) requireGone(t testing.TB, records string, remove []string) {
	t.Helper()
	if out, err := exec.Command("zfs", "list", h.dataset).CombinedOutput(); err == nil {
		t.Fatalf("the layers are left: %s", out)
	}
	if _, err := os.Stat(records); err == nil {
		t.Fatalf("%s is left", records)
	}
	if !isShort() {
		if out := h.Docker(t, "plugin", "ls", "-q"); out != "" {
			t.Fatalf("the plugin is left: %s", out)
		}
	}
	if raw, err := os.ReadFile(h.config); err != nil || strings.Contains(string(raw), engine.PluginName) {
		t.Fatalf("daemon.json is %s, %v", raw, err)
	}
	if out := run(t, operatorPath, remove...); !strings.Contains(out, "Nothing to remove") {
		t.Fatalf("once more: %s", out)
	}
}

// killSetup sets up a host that has nothing.
func (h *killedHost) killSetup(t *testing.T) {
	const verb = "setup"
	parent := h.records + "-new"
	root, config := prepareHost(t, parent)
	empty, err := os.ReadFile(config)
	must(t, err)
	want := ""
	for {
		h.untilDone(t, verb, func() []*exec.Cmd {
			return operate("setup", parent, "--way", "plugin", "--root", root, "--config-file", config, "--opt", "overlayzfs.size=1G", "--yes")
		})
		state := describeHost(t, parent, config) + strings.Join(listMountsBelow(t, filepath.Dir(root), ""), "\n")
		if want == "" {
			want = state
		}
		if state != want {
			t.Fatalf("the host is\n%s\nand was\n%s", state, want)
		}
		if h.isDone(verb) {
			break
		}
		run(t, "umount", "-R", root)
		run(t, "zfs", "destroy", "-r", parent)
		must(t, os.WriteFile(config, empty, 0o644))
	}
	h.report(t, verb)
}

// killMove moves a data-root with the content of this one to a dataset.
func (h *killedHost) killMove(t *testing.T) {
	const verb = "setup --move-data-root"
	parent := h.records + "-moved"
	root, config := prepareHost(t, parent)
	original := filepath.Join(inguest.MakeDiskDir(t), "original")
	run(t, "cp", "-a", h.root, original)
	want := describeDir(t, original)
	for !h.isDone(verb) {
		run(t, "cp", "-a", original, root)
		h.untilDone(t, verb, func() []*exec.Cmd {
			return operate("setup", parent, "--way", "plugin", "--root", root, "--config-file", config, "--move-data-root", "--yes")
		})
		for _, dir := range []string{root, root + ".before-overlayzfs"} {
			if d := differences(describeDir(t, dir), want); len(d) > 0 {
				t.Fatalf("%s: %s", dir, strings.Join(d, "\n"))
			}
		}
		if got := run(t, "findmnt", "-n", "-o", "SOURCE", root); got != parent {
			t.Fatalf("%s is mounted on the data-root", got)
		}
		run(t, "umount", root)
		run(t, "zfs", "destroy", "-r", parent)
		run(t, "rm", "-r", root, root+".before-overlayzfs")
	}
	h.report(t, verb)
	run(t, "zfs", "create", parent) // prepareHost destroys it
}

// describeHost describes what setup makes: datasets with their own properties, and daemon.json.
func describeHost(t testing.TB, parent, config string) string {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(run(t, "zfs", "get", "-H", "-r", "-t", "filesystem", "-s", "local", "-o", "name,property,value", "all", parent)) {
		fields := strings.Fields(line)
		if depth := strings.Count(fields[0], "/") - strings.Count(parent, "/"); depth < 2 {
			seen[strings.Join(fields, " ")] = true
		}
	}
	raw, err := os.ReadFile(config)
	must(t, err)
	return strings.Join(slices.Sorted(maps.Keys(seen)), "\n") + "\n" + string(raw)
}
