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

// stageEnv says which part a machine does of a migration whose power is cut
// (migrate_cut_lab_test.go); without it, one machine does all, and nothing is cut.
const stageEnv = "OVERLAYZFS_STAGE"

// cutDataset is a data-root on the pool, which outlives the machine, with the zfs
// driver's layers below it. cutFacts is what the engine said before.
const (
	cutDataset = "tank/cut"
	cutLayers  = "tank/cut-layers"
	cutFacts   = "facts.json"
)

// TestMigrateUnderPowerCuts prepares an engine on zfs, migrates it and undoes that
// until the power is cut, and looks what is there after all cuts.
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

// prepareCutEngine fills an engine, and writes down what it says.
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

// cutEngine is the data-root, mounted for as long as the test lasts.
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

// runNextStep migrates, or goes back, whichever the journal has next.
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

// migrateUntilCut goes on until the machine ends.
func (c *cutEngine) migrateUntilCut(t *testing.T) {
	fmt.Println("GOING")
	for {
		c.runNextStep(t)
	}
}

// migrateThreeTimes is there, back and there again.
func (c *cutEngine) migrateThreeTimes(t *testing.T) {
	for range 3 {
		c.runNextStep(t)
	}
}

// finishAndCheck ends what was cut, has a migration to the plugin, and starts the
// engine on it.
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
