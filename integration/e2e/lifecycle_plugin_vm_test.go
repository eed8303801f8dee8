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

// publish pushes a plugin to the registry, from its directory or from an OCI image layout.
func publish(t *testing.T, dir, name string, packed bool) {
	t.Helper()
	source := []string{"--plugin-dir", dir}
	if packed {
		layout := filepath.Join(t.TempDir(), "plugin.oci.tar")
		run(t, engine.OperatorPath, "plugin", "pack", layout, "--plugin-dir", dir)
		source = []string{"--layout", layout}
	}
	run(t, engine.OperatorPath, append([]string{"plugin", "push", name, "--plain-http"}, source...)...)
}

// TestLifecycleOfThePlugin installs the plugin as users do, upgrades it and removes it.
// Layers and images survive all of it.
func TestLifecycleOfThePlugin(t *testing.T) {
	s := installFromRegistry(t)
	t.Run("Upgraded", s.upgrade)
	t.Run("Removed", s.removeAndInstall)
	t.Run("RemovedByForce", s.removeByForceAndInstall)
	s.Docker(t, "rm", "kept")
	s.Docker(t, "rmi", "built", "tiny")
	s.mounts = listMountsBelow(t, s.Root, s.dataset)
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// installedPlugin is an engine whose plugin comes from a registry.
type installedPlugin struct {
	*testEngine
	first, second string   // the plugin's versions
	imageID       string   // of the image built
	files         []string // of the dataset, with the engine on vfs
}

// installFromRegistry publishes two versions of the plugin, installs the first, makes an
// image and a container on it, and switches the engine to vfs.
func installFromRegistry(t *testing.T) *installedPlugin {
	t.Helper()
	const dataset = "tank/installed"
	engine.CreateDataset(t, dataset)
	address := engine.StartRegistry(t)
	e := engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs"})
	s := &installedPlugin{
		testEngine: &testEngine{Engine: e, dataset: dataset}, first: address + "/overlayzfs:1", second: address + "/overlayzfs:2",
	}
	publish(t, engine.PluginDir(t), s.first, false)
	publish(t, copyPluginWith(t, "the second version"), s.second, true)

	requirePrivilegesAsked(t, e, s.first)
	s.install(t)
	requirePrivilegesGranted(t, e)
	s.switchDriver(t, engine.PluginName)
	requireDriverInfo(t, e, dataset)
	importTiny(t, e, "tiny")
	buildImage(t, e, "built")
	s.imageID = readImageID(t, e, "built")
	startContainer(t, e, "kept")
	e.StopContainers(t, "kept")
	s.leavePlugin(t)
	return s
}

// install installs the plugin's first version as a user does.
func (s *installedPlugin) install(t *testing.T) {
	t.Helper()
	s.Docker(t, "plugin", "install", "--grant-all-permissions", "--alias", engine.PluginName, s.first, "OVERLAYZFS_OPTS=overlayzfs.dataset="+s.dataset)
}

// leavePlugin switches the engine to vfs and records the dataset's files.
func (s *installedPlugin) leavePlugin(t *testing.T) {
	t.Helper()
	s.switchDriver(t, "vfs")
	s.files = listFiles(t, s.dataset)
}

// usePlugin switches the engine to the plugin. The image and the container must work.
func (s *installedPlugin) usePlugin(t *testing.T) {
	t.Helper()
	s.switchDriver(t, engine.PluginName)
	if now := readImageID(t, s.Engine, "built"); now != s.imageID {
		t.Errorf("the image was %s and is %s", s.imageID, now)
	}
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	s.StartContainers(t, "kept")
	requireIntact(t, s.Engine, "kept")
	s.StopContainers(t, "kept")
}

func (s *installedPlugin) upgrade(t *testing.T) {
	s.Docker(t, "plugin", "disable", engine.PluginName)
	s.Docker(t, "plugin", "upgrade", "--skip-remote-check", "--grant-all-permissions", engine.PluginName, s.second)
	if out := s.Docker(t, "plugin", "inspect", "-f", "{{.Config.Description}}", engine.PluginName); out != "the second version" {
		t.Errorf("after the upgrade the plugin is %q", out)
	}
	s.Docker(t, "plugin", "enable", engine.PluginName)
	requireFilesUnchanged(t, s.dataset, s.files)
	s.usePlugin(t)
	s.leavePlugin(t)
}

func (s *installedPlugin) removeAndInstall(t *testing.T) {
	s.Docker(t, "plugin", "disable", engine.PluginName)
	requireFilesUnchanged(t, s.dataset, s.files)
	s.Docker(t, "plugin", "rm", engine.PluginName)
	requireFilesUnchanged(t, s.dataset, s.files)
	s.InstallPlugin(t, s.dataset)
	s.usePlugin(t)
	s.leavePlugin(t)
}

// removeByForceAndInstall removes the plugin while its process runs, with the dataset
// mounted where `rm -f` deletes.
func (s *installedPlugin) removeByForceAndInstall(t *testing.T) {
	waitFor(t, func() error {
		if len(listMountsBelow(t, propagatedMountOf(t, s.Engine)+"/", s.dataset)) == 0 {
			return fmt.Errorf("%s is not mounted yet", s.dataset)
		}
		return nil
	})
	s.Docker(t, "plugin", "rm", "-f", engine.PluginName)
	requireFilesUnchanged(t, s.dataset, s.files)
	s.install(t)
	s.usePlugin(t)
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
	if err := compareLists(wants, []string{"capabilities: [CAP_DAC_READ_SEARCH CAP_SYS_ADMIN]", "device: [/dev/zfs]"}); err != nil {
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
		c.PropagatedMount != "/var/lib/overlayzfs" || !slices.Equal(c.Linux.Capabilities, []string{"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"}) ||
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
