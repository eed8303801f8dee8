//go:build vm

package deb

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// setupParent is the dataset that setup is given.
const setupParent = "tank/setup"

// describeHost returns the content of all files below /etc, and the datasets.
func describeHost(t *testing.T) map[string]string {
	t.Helper()
	seen := map[string]string{"datasets": run(t, "zfs", "list", "-H", "-o", "name")}
	must(t, filepath.WalkDir("/etc", func(path string, e fs.DirEntry, err error) error {
		seen[path] = "no file"
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		seen[path] = string(raw)
		return err
	}))
	return seen
}

// setupPutsDockerOnThePlugin sets up a host with an engine, and takes that back. The guest has no
// systemd, so that the test restarts the engine, as setup asks.
func setupPutsDockerOnThePlugin(t *testing.T) {
	const file = "/etc/docker/daemon.json"
	must(t, os.WriteFile(file, []byte("{\n    \"log-level\": \"warn\"\n}\n"), 0o644))
	t.Cleanup(func() { must(t, os.Remove(file)) })
	e := engine.Start(t, engine.Options{Root: "/var/lib/docker", Driver: "overlay2", ConfigFile: file})
	before, driver := describeHost(t), e.Docker(t, "info", "-f", "{{.Driver}}")

	t.Log(run(t, "overlayzfs", "setup", setupParent, "--yes", "--host", e.Host()))
	e.Stop(t)
	e.Again(t)
	info := e.Docker(t, "info")
	requireContains(t, "docker info", info, "Storage Driver: "+engine.PluginName)
	requireContains(t, "docker info", info, "Dataset: "+setupParent+"/layers")
	must(t, images.Import(e, "odds", images.WriteOdds))
	e.Docker(t, "run", "--rm", "--network", "none", "odds", "true")
	e.Docker(t, "image", "rm", "odds")
	requireContains(t, "setup, a second time", run(t, "overlayzfs", "setup", setupParent, "--yes", "--host", e.Host()), "Nothing to do")

	undo := []string{"setup", "--undo", "--yes", "--host", e.Host()}
	requireContains(t, "the first undo", run(t, "overlayzfs", undo...), "systemctl restart docker")
	e.Stop(t)
	e.Again(t)
	if got := e.Docker(t, "info", "-f", "{{.Driver}}"); got != driver {
		t.Errorf("docker info says %s, and said %s", got, driver)
	}
	t.Log(run(t, "overlayzfs", undo...))
	if out := e.Docker(t, "plugin", "ls", "-q"); out != "" {
		t.Errorf("the plugin is left: %s", out)
	}
	if diff := cmp.Diff(before, describeHost(t)); diff != "" {
		t.Errorf("- before setup, + after its undo:\n%s", diff)
	}
	e.Stop(t)
	inguest.Run(t, "rm", "-rf", "/var/lib/docker")
}
