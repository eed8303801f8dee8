package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// PluginName is the name under which the plugin is installed, and so the driver's name.
const PluginName = "overlayzfs"

// pluginEnv names the directory that `make plugin` makes.
const pluginEnv = "OVERLAYZFS_PLUGIN_DIR"

// PluginDir returns the directory that `docker plugin create` takes.
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

// PluginID returns the ID of the installed plugin.
func (e *Engine) PluginID(t testing.TB) string {
	t.Helper()
	var plugin struct {
		ID string `json:"Id"`
	}
	e.Ask(t, "/plugins/"+PluginName+"/json", &plugin)
	return plugin.ID
}

// StartOnPlugin starts an engine on the plugin, with its layers on a new dataset. As a
// user has to, it starts on vfs first, to install the plugin.
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

// CreateDataset creates a dataset, and destroys it when the test ends. Nothing may use
// it by then.
func CreateDataset(t testing.TB, name string) {
	t.Helper()
	inguest.Run(t, "zfs", "create", "-o", "mountpoint=legacy", name)
	t.Cleanup(func() { inguest.Run(t, "zfs", "destroy", "-r", name) })
}

// BinaryIn returns the path of the plugin's program in the directory that `make plugin`
// makes.
func BinaryIn(dir string) string { return filepath.Join(dir, "rootfs", "overlayzfs-plugin") }
