//go:build vm

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// stageEnv names the stage that a machine runs of the migration under power cuts
// (migrate_cut_lab_test.go). Without it one machine runs all stages, and nothing is
// cut.
const stageEnv = "OVERLAYZFS_STAGE"

// cutDataset is a data-root on the pool, which survives the machine, with the zfs
// driver's layers below it. cutFacts holds what the engine said before the migration.
const (
	cutDataset = "tank/cut"
	cutLayers  = "tank/cut-layers"
	cutFacts   = "facts.json"
)

// TestMigrateUnderPowerCuts prepares an engine on zfs, migrates and undoes until the
// power is cut, and checks the engine after all cuts.
func TestMigrateUnderPowerCuts(t *testing.T) {
	switch stage := os.Getenv(stageEnv); stage {
	case "prepare":
		prepareCutEngine(t)
	case "go":
		mountCutRoot(t).migrateUntilCut(t)
	case "check":
		finishAndCheck(t)
	case "":
		prepareCutEngine(t)
		mountCutRoot(t).migrateThreeTimes(t)
		finishAndCheck(t)
	default:
		t.Fatalf("%s=%s", stageEnv, stage)
	}
}

// prepareCutEngine makes the engine's content and records the facts about it.
func prepareCutEngine(t *testing.T) {
	run(t, "zfs", "create", "-o", "mountpoint=legacy", cutDataset)
	run(t, "zfs", "create", "-o", "mountpoint=legacy", cutLayers)
	if os.Getenv(stageEnv) == "" {
		t.Cleanup(func() {
			run(t, "zfs", "destroy", "-r", cutDataset)
			run(t, "zfs", "destroy", "-r", cutLayers)
		})
	}
	m := mountCutRoot(t)
	m.Engine = engine.Start(t, engine.Options{Root: m.root, Driver: "zfs"})
	m.InstallPlugin(t, cutLayers)
	m.createContent(t, "--storage-opt", "size=64M")
	raw, err := json.Marshal(m.collectFacts(t))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(m.root, cutFacts), raw, 0o600))
	m.Stop(t)
	run(t, "zpool", "sync")
}

// cutEngine is the engine whose data-root is mounted while the test lasts.
type cutEngine struct {
	migratedEngine
	root, config string
}

func mountCutRoot(t *testing.T) *cutEngine {
	t.Helper()
	dir := "/var/lib/cut"
	must(t, os.MkdirAll(dir, 0o755))
	if !isMountPoint(t, dir) {
		run(t, "mount", "-t", "zfs", cutDataset, dir)
		t.Cleanup(func() { inguest.UnmountAt(t, dir) })
	}
	c := &cutEngine{root: dir, config: filepath.Join(dir, "daemon.json")}
	if _, err := os.Stat(c.config); errors.Is(err, fs.ErrNotExist) {
		must(t, os.WriteFile(c.config, fmt.Appendf(nil, `{"data-root":%q,"storage-driver":"zfs"}`, dir), 0o600))
	}
	return c
}

func isMountPoint(t testing.TB, dir string) bool {
	for _, m := range listMounts(t) {
		if m.Target == dir {
			return true
		}
	}
	return false
}

// runNextStep migrates or undoes, whichever the journal asks for next.
func (c *cutEngine) runNextStep(t testing.TB) {
	t.Helper()
	args := []string{"migrate", "--yes", "--config-file", c.config, "--driver", engine.PluginName, "--dataset", cutLayers}
	if phase := readPhase(t, c.root); phase == "done" || phase == "undoing" {
		args = append(args, "--undo")
	}
	if out, err := exec.Command(operatorPath, args...).CombinedOutput(); err != nil {
		t.Fatalf("overlayzfs %q: %v\n%s", args, err, out)
	}
}

// migrateUntilCut repeats migration and undo until the machine ends.
func (c *cutEngine) migrateUntilCut(t *testing.T) {
	fmt.Println("GOING")
	for {
		c.runNextStep(t)
	}
}

// migrateThreeTimes migrates, undoes that and migrates again.
func (c *cutEngine) migrateThreeTimes(t *testing.T) {
	for range 3 {
		c.runNextStep(t)
	}
}

// finishAndCheck completes the step that was cut, migrates to the plugin, and checks
// the engine on it.
func finishAndCheck(t *testing.T) {
	c := mountCutRoot(t)
	for c.runNextStep(t); readPhase(t, c.root) != "done"; c.runNextStep(t) {
	}
	var before []string
	raw, err := os.ReadFile(filepath.Join(c.root, cutFacts))
	must(t, errors.Join(err, json.Unmarshal(raw, &before)))
	c.Engine = engine.Start(t, engine.Options{Root: c.root, Driver: engine.PluginName})
	requireSameFacts(t, "after all cuts", c.collectFacts(t), before)
	c.exerciseContent(t)
	c.Stop(t)
}
