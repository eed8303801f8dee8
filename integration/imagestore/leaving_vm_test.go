//go:build vm

package imagestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// operatorPath is the operator's command, which scripts/test brings.
const operatorPath = "/lab/job/overlayzfs"

// TestLeaving sets a host up for the snapshotter, and takes that away again, as a person does who
// reads what the command prints. Every engine on the way starts.
func TestLeaving(t *testing.T) {
	const dataset = "tank/leaving"
	dir := inguest.MakeDiskDir(t)
	root, config := filepath.Join(dir, "docker"), filepath.Join(dir, "daemon.json")
	must(t, os.WriteFile(config, []byte(`{"log-level": "warn"}`), 0o600))
	engine.CreateDataset(t, dataset)
	useContainerdConfig(t)
	containerd := engine.StartContainerd(t, engine.ContainerdOptions{Root: filepath.Join(dir, "containerd"), Dataset: dataset})
	t.Log(inguest.Run(t, operatorPath, "setup", "--dataset", dataset, "--way", "snapshotter", "--root", root, "--config-file", config, "--yes"))

	t.Cleanup(func() { inguest.UnmountAt(t, root) })
	e := engine.Start(t, engine.Options{Root: root, Driver: engine.SnapshotterName, ConfigFile: config, Containerd: containerd.Address()})
	if info := e.StorageDriver(t); info != engine.SnapshotterName {
		t.Errorf("after setup the engine uses %s", info)
	}
	must(t, images.Import(e, "odds", images.WriteOdds))
	e.Docker(t, "run", "--rm", "--network", "none", "odds", "true")
	e.Docker(t, "system", "prune", "-af")

	remove := []string{"setup", "--remove", "--yes", "--config-file", config, "--root", root, "--host", e.Host()}
	out := inguest.Run(t, operatorPath, remove...)
	for _, want := range []string{"containerd-snapshotter", "Take [proxy_plugins.overlayzfs]", "systemctl disable --now overlayzfs-snapshotter.socket"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	e.Stop(t)
	containerd.Snapshotter.Stop(t)
	e.Again(t)
	info := e.Docker(t, "info", "-f", "{{.Driver}} {{.DriverStatus}}")
	if strings.Contains(info, engine.SnapshotterName) || strings.Contains(info, "io.containerd.snapshotter") {
		t.Errorf("the engine has not left: %s", info)
	}
	must(t, images.Import(e, "odds", images.WriteOdds))
	e.Docker(t, "run", "--rm", "--network", "none", "odds", "true")
	if raw, err := os.ReadFile(config); err != nil || strings.Contains(string(raw), "overlayzfs") {
		t.Errorf("daemon.json is %s, %v", raw, err)
	}
}

// useContainerdConfig has the host's containerd name the snapshotter, which setup looks for.
func useContainerdConfig(t *testing.T) {
	t.Helper()
	const file = "/etc/containerd/config.toml"
	before, missing := os.ReadFile(file)
	if missing != nil && !errors.Is(missing, os.ErrNotExist) {
		t.Fatal(missing)
	}
	raw, err := os.ReadFile(engine.Dist(t, "containerd/config.toml"))
	must(t, errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, raw, 0o644)))
	t.Cleanup(func() {
		if missing != nil {
			must(t, os.Remove(file))
			return
		}
		must(t, os.WriteFile(file, before, 0o644))
	})
}
