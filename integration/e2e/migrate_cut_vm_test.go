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
		prepareCuts(t)
	case "go":
		cutRoot(t).toAndFro(t)
	case "check":
		checkCuts(t)
	case "":
		prepareCuts(t)
		cutRoot(t).once(t)
		checkCuts(t)
	default:
		t.Fatalf("%s=%s", stageEnv, stage)
	}
}

// prepareCuts fills an engine, and writes down what it says.
func prepareCuts(t *testing.T) {
	run(t, "zfs", "create", "-o", "mountpoint=legacy", cutDataset)
	run(t, "zfs", "create", "-o", "mountpoint=legacy", cutLayers)
	if os.Getenv(stageEnv) == "" {
		t.Cleanup(func() {
			run(t, "zfs", "destroy", "-r", cutDataset)
			run(t, "zfs", "destroy", "-r", cutLayers)
		})
	}
	m := cutRoot(t)
	m.Engine = engine.Start(t, engine.Options{Root: m.root, Driver: "zfs"})
	m.InstallPlugin(t, cutLayers)
	m.fill(t, "--storage-opt", "size=64M")
	raw, err := json.Marshal(m.facts(t))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(m.root, cutFacts), raw, 0o600))
	m.Stop(t)
	run(t, "zpool", "sync")
}

// cut is the data-root, mounted for as long as the test lasts.
type cut struct {
	mover
	root, config string
}

func cutRoot(t *testing.T) *cut {
	t.Helper()
	dir := "/var/lib/cut"
	must(t, os.MkdirAll(dir, 0o755))
	if !isMounted(t, dir) {
		run(t, "mount", "-t", "zfs", cutDataset, dir)
		t.Cleanup(func() { inguest.UnmountAt(t, dir) })
	}
	c := &cut{root: dir, config: filepath.Join(dir, "daemon.json")}
	if _, err := os.Stat(c.config); errors.Is(err, fs.ErrNotExist) {
		must(t, os.WriteFile(c.config, fmt.Appendf(nil, `{"data-root":%q,"storage-driver":"zfs"}`, dir), 0o600))
	}
	return c
}

func isMounted(t testing.TB, dir string) bool {
	for _, m := range listMounts(t) {
		if m.Target == dir {
			return true
		}
	}
	return false
}

// step migrates, or goes back, whichever the journal has next.
func (c *cut) step(t testing.TB) {
	t.Helper()
	args := []string{"migrate", "--yes", "--config-file", c.config, "--driver", engine.PluginName, "--dataset", cutLayers}
	if phase := phaseIn(t, c.root); phase == "done" || phase == "undoing" {
		args = append(args, "--undo")
	}
	if out, err := exec.Command(operatorsCommand, args...).CombinedOutput(); err != nil {
		t.Fatalf("overlayzfs %q: %v\n%s", args, err, out)
	}
}

// toAndFro goes on until the machine ends.
func (c *cut) toAndFro(t *testing.T) {
	fmt.Println("GOING")
	for {
		c.step(t)
	}
}

// once is there, back and there again.
func (c *cut) once(t *testing.T) {
	for range 3 {
		c.step(t)
	}
}

// checkCuts ends what was cut, has a migration to the plugin, and starts the
// engine on it.
func checkCuts(t *testing.T) {
	c := cutRoot(t)
	for c.step(t); phaseIn(t, c.root) != "done"; c.step(t) {
	}
	var before []string
	raw, err := os.ReadFile(filepath.Join(c.root, cutFacts))
	must(t, errors.Join(err, json.Unmarshal(raw, &before)))
	c.Engine = engine.Start(t, engine.Options{Root: c.root, Driver: engine.PluginName})
	unchangedBy(t, "after all cuts", c.facts(t), before)
	c.works(t)
	c.Stop(t)
}
