//go:build vm

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// TestSetup prepares a host as a newcomer would, and starts an engine with the
// resulting daemon.json.
func TestSetup(t *testing.T) {
	const parent = "tank/prepared"
	root, config := prepareHost(t, parent)
	args := []string{"setup", parent, "--way", "plugin", "--root", root, "--config-file", config, "--opt", "overlayzfs.size=1G", "--yes"}
	t.Log(run(t, operatorPath, args...))
	before := engine.Start(t, engine.Options{Root: root, Driver: "vfs"})
	before.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	before.Docker(t, "plugin", "enable", engine.PluginName)
	before.Stop(t)

	e := engine.Start(t, engine.Options{Root: root, Driver: engine.PluginName, ConfigFile: config})
	if info := e.Docker(t, "info"); findLine(info, "Dataset:", parent+"/layers") == "" || findLine(info, "Storage Driver:", engine.PluginName) == "" {
		t.Errorf("docker info:\n%s", info)
	}
	importTiny(t, e, "tiny")
	e.Docker(t, "volume", "create", "kept")
	if out := e.Docker(t, "run", "--rm", "--network", "none", "-v", "kept:/kept", "tiny", "sh", "-c", "echo x >/kept/x; df -m / | tail -n 1"); !strings.Contains(out, "1024") {
		t.Errorf("the default limit: %s", out)
	}
	if got := run(t, "findmnt", "-n", "-o", "SOURCE", "-T", filepath.Join(root, "volumes/kept/_data/x")); got != parent+"/volumes" {
		t.Errorf("the volume lies on %s", got)
	}
	if out := run(t, operatorPath, args...); !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second time: %s", out)
	}
	out, err := exec.Command(operatorPath, "doctor", "--quick", "--all", "--config-file", config, "--host", e.Host()).CombinedOutput()
	if err != nil {
		t.Errorf("the doctor: %v", err)
	}
	t.Logf("%s", out)
}

// prepareHost makes a directory for a data-root, and a daemon.json that has settings
// already.
func prepareHost(t testing.TB, parent string) (root, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "host-")
	must(t, err)
	root, config = filepath.Join(dir, "docker"), filepath.Join(dir, "daemon.json")
	must(t, os.WriteFile(config, []byte("{\n    \"log-level\": \"warn\",\n    \"max-concurrent-downloads\": 2\n}\n"), 0o644))
	t.Cleanup(func() {
		inguest.UnmountAt(t, root+"/volumes")
		inguest.UnmountAt(t, root)
		run(t, "zfs", "destroy", "-r", parent)
		must(t, os.RemoveAll(dir))
	})
	return root, config
}
