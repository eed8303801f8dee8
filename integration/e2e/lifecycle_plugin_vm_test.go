//go:build vm

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// copyPluginWith copies the plugin's directory and changes its description.
func copyPluginWith(t *testing.T, description string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(engine.PluginDir(t))))
	path := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	var config map[string]any
	must(t, json.Unmarshal(raw, &config))
	config["description"] = description
	raw, err = json.Marshal(config)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600))
	return dir
}

// publish creates a plugin, pushes it to the registry and removes it.
func publish(t *testing.T, e *engine.Engine, dir, name string) {
	t.Helper()
	e.Docker(t, "plugin", "create", name, dir)
	e.Docker(t, "plugin", "push", name)
	e.Docker(t, "plugin", "rm", name)
}

// TestLifecycleOfThePlugin installs the plugin as users do, upgrades it and removes it.
// Layers and images survive all of it.
func TestLifecycleOfThePlugin(t *testing.T) {
	const dataset = "tank/installed"
	engine.CreateDataset(t, dataset)
	address := engine.StartRegistry(t)
	e := engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs"})
	s := &testEngine{Engine: e, dataset: dataset}
	first, second := address+"/overlayzfs:1", address+"/overlayzfs:2"
	publish(t, e, engine.PluginDir(t), first)
	publish(t, e, copyPluginWith(t, "the second version"), second)

	requirePrivilegesAsked(t, e, first)
	e.Docker(t, "plugin", "install", "--grant-all-permissions", "--alias", engine.PluginName, first, "OVERLAYZFS_OPTS=overlayzfs.dataset="+dataset)
	requirePrivilegesGranted(t, e)
	s.switchDriver(t, engine.PluginName)
	requireDriverInfo(t, e, dataset)
	importTiny(t, e, "tiny")
	buildImage(t, e, "built")
	id := readImageID(t, e, "built")
	startContainer(t, e, "kept")
	e.Docker(t, "stop", "kept")

	works := func(t *testing.T) {
		t.Helper()
		if now := readImageID(t, e, "built"); now != id {
			t.Errorf("the image was %s and is %s", id, now)
		}
		if out := runTiny(t, e, "built", "cat", "/both"); out != "payload\nbuilt" {
			t.Errorf("the image holds %q", out)
		}
		e.Docker(t, "start", "kept")
		requireIntact(t, e, "kept")
		e.Docker(t, "stop", "kept")
	}
	s.switchDriver(t, "vfs")
	content := listFiles(t, dataset)

	t.Run("Upgraded", func(t *testing.T) {
		e.Docker(t, "plugin", "disable", engine.PluginName)
		e.Docker(t, "plugin", "upgrade", "--skip-remote-check", "--grant-all-permissions", engine.PluginName, second)
		if out := e.Docker(t, "plugin", "inspect", "-f", "{{.Config.Description}}", engine.PluginName); out != "the second version" {
			t.Errorf("after the upgrade the plugin is %q", out)
		}
		e.Docker(t, "plugin", "enable", engine.PluginName)
		requireFilesUnchanged(t, dataset, content)
		s.switchDriver(t, engine.PluginName)
		works(t)
		s.switchDriver(t, "vfs")
		content = listFiles(t, dataset)
	})
	t.Run("Removed", func(t *testing.T) {
		e.Docker(t, "plugin", "disable", engine.PluginName)
		requireFilesUnchanged(t, dataset, content)
		e.Docker(t, "plugin", "rm", engine.PluginName)
		requireFilesUnchanged(t, dataset, content)
		e.InstallPlugin(t, dataset)
		s.switchDriver(t, engine.PluginName)
		works(t)
		s.switchDriver(t, "vfs")
		content = listFiles(t, dataset)
	})
	t.Run("RemovedByForce", func(t *testing.T) {
		// The plugin's process runs, with the dataset mounted where `rm -f` deletes.
		waitFor(t, func() error {
			if len(listMountsBelow(t, propagatedMountOf(t, e)+"/", dataset)) == 0 {
				return fmt.Errorf("%s is not mounted yet", dataset)
			}
			return nil
		})
		e.Docker(t, "plugin", "rm", "-f", engine.PluginName)
		requireFilesUnchanged(t, dataset, content)
		e.Docker(t, "plugin", "install", "--grant-all-permissions", "--alias", engine.PluginName, first, "OVERLAYZFS_OPTS=overlayzfs.dataset="+dataset)
		s.switchDriver(t, engine.PluginName)
		works(t)
	})
	e.Docker(t, "rm", "kept")
	e.Docker(t, "rmi", "built", "tiny")
	s.mounts = listMountsBelow(t, s.Root, dataset)
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// switchDriver restarts the engine with another storage driver.
func (s *testEngine) switchDriver(t testing.TB, driver string) {
	t.Helper()
	s.Stop(t)
	s.requireStopped(t)
	s.Driver = driver
	s.Again(t)
}

// requirePrivilegesAsked checks which privileges docker plugin install asks for, and
// refuses them.
func requirePrivilegesAsked(t *testing.T, e *engine.Engine, name string) {
	t.Helper()
	cmd := e.Command("plugin", "install", "--alias", "refused", name)
	cmd.Stdin = strings.NewReader("n\n")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("the plugin was installed against the user's will:\n%s", out)
	}
	var wants []string
	for line := range strings.Lines(string(out)) {
		if privilege, ok := strings.CutPrefix(line, " - "); ok {
			wants = append(wants, strings.TrimSpace(privilege))
		}
	}
	slices.Sort(wants)
	if err := compareLists(wants, []string{"capabilities: [CAP_SYS_ADMIN]", "device: [/dev/zfs]"}); err != nil {
		t.Errorf("privileges asked for: %v\n%s", err, out)
	}
}

// requirePrivilegesGranted fails the test unless the installed plugin has what
// config.json asks for, and nothing else.
func requirePrivilegesGranted(t *testing.T, e *engine.Engine) {
	t.Helper()
	var inspected []struct {
		Enabled bool
		Config  struct {
			IpcHost, PidHost bool
			Network          struct{ Type string }
			Mounts           []any
			PropagatedMount  string
			Linux            struct {
				AllowAllDevices bool
				Capabilities    []string
				Devices         []struct{ Path string }
			}
		}
		Settings struct {
			Mounts  []any
			Devices []struct{ Path string }
		}
	}
	must(t, json.Unmarshal([]byte(e.Docker(t, "plugin", "inspect", engine.PluginName)), &inspected))
	p := inspected[0]
	c := p.Config
	if !p.Enabled || c.IpcHost || c.PidHost || c.Network.Type != "" || len(c.Mounts)+len(p.Settings.Mounts) > 0 || c.Linux.AllowAllDevices ||
		c.PropagatedMount != "/var/lib/overlayzfs" || !slices.Equal(c.Linux.Capabilities, []string{"CAP_SYS_ADMIN"}) ||
		len(c.Linux.Devices) != 1 || c.Linux.Devices[0].Path != "/dev/zfs" ||
		len(p.Settings.Devices) != 1 || p.Settings.Devices[0].Path != "/dev/zfs" {
		t.Errorf("the plugin: %+v", p)
	}
}

// requireDriverInfo checks what `docker info` shows of the driver.
func requireDriverInfo(t *testing.T, e *engine.Engine, dataset string) {
	t.Helper()
	info := e.Docker(t, "info")
	version, err := os.ReadFile("/sys/module/zfs/version")
	must(t, err)
	for _, line := range []string{
		"Storage Driver: overlayzfs",
		"Dataset: " + dataset,
		"OpenZFS Version: " + strings.TrimSpace(string(version)),
		"Backing Filesystem: zfs",
	} {
		if !slices.ContainsFunc(strings.Split(info, "\n"), func(l string) bool { return strings.TrimSpace(l) == line }) {
			t.Errorf("docker info lacks %q:\n%s", line, info)
		}
	}
}
