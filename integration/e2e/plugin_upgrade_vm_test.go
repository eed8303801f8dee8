//go:build vm

package e2e

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// upgraded describes the second version of the plugin.
const upgraded = "overlay filesystems on ZFS (v99.0.0, commit 0123456789ab)"

// TestPluginUpgrade upgrades a plugin made by `docker plugin create`, with its layers on a
// dataset and in place, under the engine that uses it. Whenever the command is killed, running
// it again finishes it.
func TestPluginUpgrade(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *engine.Engine{
		"Dataset": func(t *testing.T) *engine.Engine { return newTestEngine(t, "upgraded", nil).Engine },
		"InPlace": startInPlace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has its engine, and waits for it most of the time
			e := start(t)
			buildImage(t, e, "built")
			startContainer(t, e, "kept")
			second := copyPluginWith(t, upgraded)
			args := []string{"plugin", "upgrade", "--config-file", e.UsedConfig(), "--host", e.Host(), "--yes", "--plugin-dir"}
			id := e.Docker(t, "plugin", "inspect", "-f", "{{.Id}} {{.Settings.Env}}", engine.PluginName)

			out, err := exec.Command(operatorPath, append(args, second)...).CombinedOutput()
			if code := exitCodeOf(err); code != 3 || !strings.Contains(string(out), "stop them first") {
				t.Fatalf("with a running container it exits with %d: %s", code, out)
			}
			requireIntact(t, e, "kept")
			e.StopContainers(t, "kept")
			t.Log(run(t, operatorPath, append(args, second)...))
			requireUpgraded(t, e, id, upgraded)
			if out := run(t, operatorPath, append(args, second)...); !strings.Contains(out, "Nothing to do") {
				t.Errorf("a second time: %s", out)
			}

			killUpgrades(t, e, append(args, engine.PluginDir(t)), append(args, second))
			requireUpgraded(t, e, id, upgraded)
			enableWhileStopped(t, e)
			requireUpgraded(t, e, id, upgraded)
			e.Docker(t, "rm", "kept")
			e.Docker(t, "rmi", "built", "tiny")
			e.Stop(t)
		})
	}
}

// startInPlace starts an engine whose layers lie in the plugin's directory.
func startInPlace(t *testing.T) *engine.Engine {
	t.Helper()
	const dataset = "tank/upgradedinplace"
	engine.CreateDataset(t, dataset)
	root := makeDataRoot(t)
	run(t, "mount", "-t", "zfs", dataset, root)
	t.Cleanup(func() { run(t, "umount", root) })
	e := engine.Start(t, engine.Options{Root: root, Driver: "vfs"})
	e.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	e.Docker(t, "plugin", "enable", engine.PluginName)
	e.Stop(t)
	e.Driver = engine.PluginName
	e.Again(t)
	importTiny(t, e, "tiny")
	return e
}

// requireUpgraded fails the test unless the plugin is the same one with a new program, and
// the engine goes on with its images and containers.
func requireUpgraded(t *testing.T, e *engine.Engine, id, description string) {
	t.Helper()
	if out := e.Docker(t, "plugin", "inspect", "-f", "{{.Id}} {{.Settings.Env}}", engine.PluginName); out != id {
		t.Errorf("the plugin was %s and is %s", id, out)
	}
	if out := e.Docker(t, "plugin", "inspect", "-f", "{{.Enabled}} {{.Config.Description}}", engine.PluginName); out != "true "+description {
		t.Errorf("the plugin: %s", out)
	}
	if out := runTiny(t, e, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	e.StartContainers(t, "kept")
	requireIntact(t, e, "kept")
	e.StopContainers(t, "kept")
}

// killUpgrades kills upgrades to and fro at growing times after their start.
func killUpgrades(t *testing.T, e *engine.Engine, to, fro []string) {
	t.Helper()
	for n := range 4 {
		cmd := exec.Command(operatorPath, to...)
		must(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(n*n)*200*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		err := cmd.Wait()
		timer.Stop()
		state := e.Docker(t, "plugin", "inspect", "-f", "{{.Enabled}} {{.Config.Description}}", engine.PluginName)
		t.Logf("killed after %d: %v, %s", n, err, state)
		run(t, operatorPath, to...)
		to, fro = fro, to
	}
}

// enableWhileStopped enables a plugin that keeps the engine from starting.
func enableWhileStopped(t *testing.T, e *engine.Engine) {
	t.Helper()
	e.Docker(t, "plugin", "disable", "-f", engine.PluginName)
	enable := []string{"plugin", "enable", "--config-file", e.UsedConfig()}
	if out, err := exec.Command(operatorPath, enable...).CombinedOutput(); exitCodeOf(err) != 3 {
		t.Errorf("beside the engine: %v, %s", err, out)
	}
	e.Stop(t)
	if err := e.TryAgain(); err == nil {
		t.Fatal("the engine starts with a disabled plugin")
	}
	e.Stop(t)
	if out, code := runOperator(t, "gc", "--dry-run", "--config-file", e.UsedConfig()); code != 0 || !strings.Contains(out, "do not know 0 layers") {
		t.Errorf("gc of the upgraded plugin's store exits with %d and says\n%s", code, out)
	}
	t.Log(run(t, operatorPath, enable...))
	e.Again(t)
}

func exitCodeOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
