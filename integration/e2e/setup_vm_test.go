//go:build vm

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if raw, err := os.ReadFile(config); err != nil || strings.Contains(string(raw), engine.PluginName) {
		t.Errorf("daemon.json names a driver that dockerd does not have: %s, %v", raw, err)
	}
	before := engine.Start(t, engine.Options{Root: root, Driver: "vfs"})
	t.Log(run(t, operatorPath, append(args, "--host", before.Host(), "--plugin-dir", engine.PluginDir(t))...))
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
	// OpenZFS 2.4 shows xattr=sa as "on".
	if got := strings.Fields(run(t, "zfs", "get", "-Hp", "-o", "value", "mountpoint,xattr,acltype,dnodesize,atime", parent+"/layers")); len(got) != 5 || !slices.Contains([]string{"sa", "on"}, got[1]) || !slices.Equal(slices.Delete(got, 1, 2), []string{"legacy", "posix", "auto", "off"}) {
		t.Errorf("the layers' dataset has the properties %q", got)
	}
	if out := run(t, operatorPath, args...); !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second time: %s", out)
	}
	out, err := exec.Command(operatorPath, "doctor", "--quick", "--all", "--config-file", config, "--host", e.Host()).CombinedOutput()
	if err != nil {
		t.Errorf("the doctor: %v", err)
	}
	t.Logf("%s", out)
	leaveBySetup(t, e, parent)
}

// leaveBySetup takes overlayzfs from a host again, as a person does who reads what the command
// prints. Every engine on the way starts, and the volumes stay.
func leaveBySetup(t *testing.T, e *engine.Engine, parent string) {
	t.Helper()
	layers := parent + "/layers"
	remove := []string{"setup", "--remove", "--yes", "--config-file", e.ConfigFile, "--host", e.Host()}
	out, err := exec.Command(operatorPath, append(remove, "--layers")...).CombinedOutput()
	if exitCodeOf(err) != 3 || !strings.Contains(string(out), "dockerd uses the layers") {
		t.Errorf("under the engine: %v, %s", err, out)
	}
	t.Log(run(t, operatorPath, remove...))
	e.Stop(t)
	e.Again(t)
	if info := e.Docker(t, "info"); findLine(info, "Storage Driver:", engine.PluginName) != "" {
		t.Errorf("the engine has not left:\n%s", info)
	}
	run(t, "zfs", "create", "-o", "mountpoint=none", layers+"/foreign")
	out, err = exec.Command(operatorPath, append(remove, "--layers", "--dataset", layers)...).CombinedOutput()
	if exitCodeOf(err) != 3 || !strings.Contains(string(out), layers+"/foreign") {
		t.Errorf("with a dataset of somebody else: %v, %s", err, out)
	}
	run(t, "zfs", "destroy", layers+"/foreign")
	run(t, "zfs", "snapshot", layers+"@kept")
	out2 := run(t, operatorPath, append(remove, "--layers", "--dataset", layers)...)
	t.Log(out2)
	for _, gone := range [][]string{{"zfs", "list", layers}, {"ls", filepath.Join(e.Root, "image", engine.PluginName)}} {
		if out, err := exec.Command(gone[0], gone[1:]...).CombinedOutput(); err == nil {
			t.Errorf("%q is left: %s", gone, out)
		}
	}
	if out := e.Docker(t, "plugin", "ls", "-q"); out != "" {
		t.Errorf("the plugin is left: %s", out)
	}
	if got := run(t, "cat", filepath.Join(e.Root, "volumes/kept/_data/x")); got != "x" || !strings.Contains(out2, "Dataset "+parent+"/volumes stays") {
		t.Errorf("the volume holds %q, and is it said that it stays?\n%s", got, out2)
	}
	if out := run(t, operatorPath, remove...); !strings.Contains(out, "Nothing to remove") {
		t.Errorf("a second time: %s", out)
	}
}

// TestSetupMovesTheDataRoot moves a data-root that an engine has used. The engine has its
// containers and volumes then, and the old content is kept.
func TestSetupMovesTheDataRoot(t *testing.T) {
	const parent = "tank/moved"
	root, config := prepareHost(t, parent)
	must(t, os.WriteFile(config, []byte(`{"storage-driver": "vfs"}`), 0o644))
	e := engine.Start(t, engine.Options{Root: root, Driver: "vfs", ConfigFile: config})
	importTiny(t, e, "tiny")
	startContainer(t, e, "worker", "-v", "db:/data")
	e.MustExec(t, "worker", "sh", "-c", "echo kept >/data/text")
	e.StopContainers(t, "worker")
	move := []string{"setup", parent, "--way", "plugin", "--root", root, "--config-file", config, "--move-data-root", "--yes"}
	if out, code := runOperator(t, move...); code == 0 || !strings.Contains(out, "systemctl stop docker.socket docker") {
		t.Errorf("under a running engine it exits with %d and says\n%s", code, out)
	}
	e.Stop(t)
	inguest.UnmountAt(t, root)
	out := run(t, operatorPath, move...)
	t.Log(out)
	old := root + ".before-overlayzfs"
	if !strings.Contains(out, "rm -r "+old) {
		t.Errorf("%s is not named", old)
	}
	e.Again(t)
	e.StartContainers(t, "worker")
	requireIntact(t, e, "worker")
	if got := e.MustExec(t, "worker", "cat", "/data/text"); got != "kept" {
		t.Errorf("the volume holds %q", got)
	}
	if got := run(t, "findmnt", "-n", "-o", "SOURCE", "-T", filepath.Join(root, "volumes/db/_data/text")); got != parent {
		t.Errorf("the volume lies on %s", got)
	}
	if got := run(t, "cat", filepath.Join(old, "volumes/db/_data/text")); got != "kept" {
		t.Errorf("the old content holds %q", got)
	}
	e.RemoveContainers(t, "worker")
	e.Stop(t)
	if out := run(t, operatorPath, move...); !strings.Contains(out, "rm -r "+old) || strings.Contains(out, "1.") {
		t.Errorf("a second time: %s", out)
	}
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
