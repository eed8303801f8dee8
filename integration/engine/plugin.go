package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// PluginName is the name the plugin is installed under, and so the driver's.
const PluginName = "overlayzfs"

// pluginEnv names the directory that `make plugin` leaves.
const pluginEnv = "OVERLAYZFS_PLUGIN_DIR"

// PluginDir is the plugin as `docker plugin create` takes it.
func PluginDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(pluginEnv)
	if dir == "" {
		t.Fatalf("%s names no directory", pluginEnv)
	}
	return dir
}

// InstallPlugin creates, sets and enables the plugin on a running engine.
func (e *Engine) InstallPlugin(t testing.TB, dataset string) {
	t.Helper()
	e.Docker(t, "plugin", "create", PluginName, PluginDir(t))
	e.Docker(t, "plugin", "set", PluginName, "OVERLAYZFS_OPTS=overlayzfs.dataset="+dataset)
	e.Docker(t, "plugin", "enable", PluginName)
}

// StartOnPlugin starts an engine whose storage driver is the plugin with its
// layers on a fresh dataset: first on vfs to install the plugin, as a user
// has to, and then for good.
func StartOnPlugin(t testing.TB, o Options, dataset string) *Engine {
	t.Helper()
	CreateDataset(t, dataset)
	o.Driver = "vfs"
	e := Start(t, o)
	e.InstallPlugin(t, dataset)
	e.Stop(t)
	e.Driver = PluginName
	e.Again(t)
	return e
}

// CreateDataset makes a dataset that is destroyed when the test ends; by then
// nothing may use it any more.
func CreateDataset(t testing.TB, name string) {
	t.Helper()
	inguest.Run(t, "zfs", "create", "-o", "mountpoint=legacy", name)
	t.Cleanup(func() { inguest.Run(t, "zfs", "destroy", "-r", name) })
}

// BinaryIn is the plugin's program in the directory `make plugin` leaves.
func BinaryIn(dir string) string { return filepath.Join(dir, "rootfs", "overlayzfs-plugin") }
