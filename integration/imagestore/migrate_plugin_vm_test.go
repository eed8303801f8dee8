//go:build vm

package imagestore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// pluginLayers is the dataset of the plugin that is migrated from.
const pluginLayers = "tank/plugin-layers"

// TestMigrationFromThePlugin migrates from the plugin on another dataset of the pool, with a
// limited container. It needs an engine that has plugins and the image store, as Docker 26 does.
func TestMigrationFromThePlugin(t *testing.T) {
	m, o := newStore(t, engine.PluginName)
	m.Engine = engine.StartOnPlugin(t, o, pluginLayers)
	m.createContent(t)
	m.createLimited(t)
	layers := inguest.ListDatasets(t, pluginLayers)
	m.migrateUndoMigrate(t, m.hasBlob(t), m.hasContainerLayer, m.isSwitching)
	m.startOnStore(t)
	m.requireLimited(t)
	m.Stop(t)
	m.finishAndStart(t)
	m.removeAll(t) // Docker 26 prunes the image of a container that was made by its ID
	if left := inguest.ListDatasets(t, pluginLayers); !slices.Equal(left, layers) {
		t.Errorf("the plugin's datasets are %q, and were %q", left, layers)
	}
}

// createLimited makes a container whose limit is changed afterwards, so that Docker's records
// have another one.
func (m *migrated) createLimited(t *testing.T) {
	t.Helper()
	m.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "limited", "--storage-opt", "size=64M", "odds", "sleep", "1000000")
	m.MustExec(t, "limited", "sh", "-ec", "dd if=/dev/urandom of=/big bs=64k count=32; rm /lower/keep-file; echo limited >/own")
	if out, code := engine.RunOperator(t, "limit", "--size", "48M", "limited", "--config-file", m.UsedConfig()); code != 0 {
		t.Fatalf("overlayzfs limit ends with %d\n%s", code, out)
	}
	m.Docker(t, "stop", "-t", "0", "limited")
	m.containers = append(m.containers, "limited")
}

// requireLimited checks the limited container on the image store.
func (m *migrated) requireLimited(t *testing.T) {
	t.Helper()
	m.StartContainers(t, "limited")
	if got := m.MustExec(t, "limited", "sh", "-c", "cat /own; df -Pk / | tail -n 1"); !strings.HasPrefix(got, "limited\n") || strings.Fields(got)[2] != "49152" {
		t.Errorf("the limited container says\n%s", got)
	}
	out, err := m.Exec("limited", "dd", "if=/dev/urandom", "of=/too-much", "bs=1M", "count=60")
	if err == nil || !strings.Contains(out, "Disk quota exceeded") {
		t.Errorf("60 MB in a container limited to 48M: %q, %v", out, err)
	}
	m.MustExec(t, "limited", "rm", "/too-much")
	m.Docker(t, "stop", "-t", "0", "limited")
}

// hasContainerLayer fails until containerd has the init layer of a container.
func (m *migrated) hasContainerLayer() error {
	out, err := m.containerd.Try("moby", "snapshots", "--snapshotter", engine.SnapshotterName, "ls")
	if err == nil && !strings.Contains(out, "-init ") {
		err = errors.New("there is no layer of a container yet")
	}
	return err
}

// isSwitching fails until the migration switches Docker's records.
func (m *migrated) isSwitching() error {
	raw, err := os.ReadFile(filepath.Join(m.Root, "overlayzfs-migrate/journal.json"))
	if err == nil && strings.Contains(string(raw), `"phase": "carrying"`) {
		err = errors.New("layers are still copied")
	}
	return err
}
