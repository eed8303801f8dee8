//go:build vm

package e2e

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// kills is set after -args: -kills 100.
var kills = flag.Int("kills", 20, "how often a migration is killed")

// TestMigrateFromZFS migrates an engine from moby's zfs driver to the plugin, and
// finishes the migration after the engine has run.
func TestMigrateFromZFS(t *testing.T) {
	const old, layers = "tank/old", "tank/new"
	m := startOnZFS(t, old, layers)
	before := m.collectFacts(t)
	if out := m.runOperator(t, 3, "migrate", "--yes"); !strings.Contains(out, "stop docker") {
		t.Errorf("under a running engine it says\n%s", out)
	}
	m.Stop(t)
	datasets := inguest.ListDatasets(t, old)
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run"))
	m.migrate(t, 0)
	must(t, compareLists(inguest.ListDatasets(t, old), datasets))
	if out := m.migrate(t, 3, "--finish"); !strings.Contains(out, "has not run with the driver") {
		t.Errorf("before anything ran on the new layers it says\n%s", out)
	}
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.requireUnproven(t)
	m.exerciseContent(t)
	m.requireLimit(t, 64<<20)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	must(t, compareLists(inguest.ListDatasets(t, old), []string{old}))
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.removeContent(t)
}

// TestMigrateFromZFSIsUndone undoes a migration after the engine has run on the plugin.
func TestMigrateFromZFSIsUndone(t *testing.T) {
	const old, layers = "tank/undone", "tank/undone-layers"
	m := startOnZFS(t, old, layers)
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0)
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--undo"))
	must(t, compareLists(inguest.ListDatasets(t, layers), []string{layers}))
	m.startMigrated(t, "zfs")
	requireSameFacts(t, "undone", dropRunTraces(m.collectFacts(t)), dropRunTraces(before))
	m.removeContent(t)
}

// TestMigrateFromZFSSurvives kills a migration and its undo again and again.
func TestMigrateFromZFSSurvives(t *testing.T) {
	const old, layers = "tank/killed", "tank/killed-layers"
	m := startOnZFS(t, old, layers)
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrateUnderKills(t)
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "after all that", m.collectFacts(t), before)
	m.removeContent(t)
}

// TestMigrateBackToZFS migrates from the plugin to moby's zfs driver, with kills.
func TestMigrateBackToZFS(t *testing.T) {
	const old, layers = "tank/back", "tank/back-layers"
	engine.CreateDataset(t, old)
	m := &migratedEngine{engine.StartOnPlugin(t, engine.Options{Root: makeDataRoot(t)}, layers)}
	m.createContent(t, "--storage-opt", "size=64M")
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrateUnderKills(t, "--back", "--to", "zfs", "--zfs-dataset", old)
	m.startMigrated(t, "zfs")
	requireSameFacts(t, "back", m.collectFacts(t), before)
	m.exerciseContent(t)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	m.startMigrated(t, "zfs")
	m.exerciseContent(t)
	m.removeContent(t)
}

// startOnZFS starts an engine on moby's zfs driver, with content and the plugin.
func startOnZFS(t *testing.T, old, layers string) *migratedEngine {
	t.Helper()
	for _, dataset := range []string{old, layers} {
		engine.CreateDataset(t, dataset)
	}
	m := &migratedEngine{engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "zfs", Config: map[string]any{"storage-opts": []string{"zfs.fsname=" + old}}})}
	m.InstallPlugin(t, layers)
	m.createContent(t, "--storage-opt", "size=64M")
	return m
}

// removeContent removes what createContent made, and stops the engine.
func (m *migratedEngine) removeContent(t *testing.T) {
	t.Helper()
	m.Docker(t, append([]string{"rm", "-f"}, movedContainers...)...)
	m.Docker(t, "system", "prune", "-af")
	m.Stop(t)
}

// migrateUnderKills kills a migration at random moments, and its undo once it is done.
// Then it lets the migration finish. A run that ends before its kill does not count as
// one, and sets the range of later delays.
func (m *migratedEngine) migrateUnderKills(t *testing.T, args ...string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	begin := time.Now()
	m.migrate(t, 0, args...)
	took := map[bool]time.Duration{false: time.Since(begin)} // the key says whether it is an undo
	begin = time.Now()
	m.migrate(t, 0, "--undo")
	took[true] = time.Since(begin)
	phases := map[string]int{}
	for n := 0; n < *kills; {
		phase, next := m.currentPhase(t), args
		undo := phase == "done" || phase == "undoing"
		if undo {
			next = []string{"--undo"}
		}
		// A third of the runs end, so that not all kills hit the same undo.
		delay := time.Duration(random.Int64N(int64(took[undo]) * 3 / 2))
		begin := time.Now()
		if m.migrateAndKill(t, func(kill func()) { time.AfterFunc(delay, kill) }, next...) {
			took[undo] = time.Since(begin)
			phases["ended before"]++
			continue
		}
		phases[m.currentPhase(t)]++
		n++
	}
	t.Logf("%d kills in runs of %v, and undos of %v: %v", *kills, took[false], took[true], phases)
	if m.currentPhase(t) == "undoing" {
		m.migrate(t, 0, "--undo")
	}
	if m.currentPhase(t) != "done" {
		m.migrate(t, 0, args...)
	}
}

// TestMigrateFromOverlay2InPlace migrates an engine from overlay2 on ZFS to the plugin
// on the same dataset. It copies nothing.
func TestMigrateFromOverlay2InPlace(t *testing.T) {
	const dataset = "tank/inplace"
	m := startOnOverlay2(t, dataset)
	before := m.collectFacts(t)
	m.Stop(t)
	used := inguest.UsedSpace(t, dataset)
	t.Log(m.runOperator(t, 3, "migrate", "--dry-run"))
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run", "--in-place"))
	begin := time.Now()
	t.Log(m.migrate(t, 0, "--in-place"))
	t.Logf("it took %v", time.Since(begin))
	if now := inguest.UsedSpace(t, dataset); now > used+used/100 {
		t.Errorf("the dataset has %d bytes, and had %d", now, used)
	}
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.runOperator(t, 0, "verify")
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, engine.PluginName)
	m.removeContent(t)
}

// TestMigrateInPlaceAndBack loses nothing that was made since the migration, neither by
// an undo nor by a migration back.
func TestMigrateInPlaceAndBack(t *testing.T) {
	m := startOnOverlay2(t, "tank/toandfro")
	m.Stop(t)
	m.migrate(t, 0, "--in-place")
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.Docker(t, "commit", "changed", "later")
	after := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--undo")
	m.startMigrated(t, "overlay2")
	requireSameFacts(t, "undone", m.collectFacts(t), after)
	m.Stop(t)
	m.migrate(t, 0, "--in-place")
	m.migrate(t, 0, "--finish")
	t.Log(m.migrate(t, 0, "--back"))
	m.startMigrated(t, "overlay2")
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, "overlay2")
	m.removeContent(t)
}

// startOnOverlay2 starts an engine on overlay2 on a dataset, with content, and with the
// plugin, which has no dataset.
func startOnOverlay2(t *testing.T, dataset string) *migratedEngine {
	t.Helper()
	m := &migratedEngine{engine.Start(t, engine.Options{Root: mountDataRoot(t, dataset), Driver: "overlay2"})}
	m.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	m.Docker(t, "plugin", "enable", engine.PluginName)
	m.createContent(t)
	return m
}

// TestMigrateFromOverlay2Apart migrates an engine from overlay2 on ZFS to the plugin on
// another dataset of the pool. Files share their blocks.
func TestMigrateFromOverlay2Apart(t *testing.T) {
	const old, layers = "tank/apart", "tank/apart-layers"
	root := mountDataRoot(t, old)
	engine.CreateDataset(t, layers)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: root, Driver: "overlay2"})}
	m.InstallPlugin(t, layers)
	m.createContent(t)
	before := m.collectFacts(t)
	m.Stop(t)
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run"))
	m.migrate(t, 0)
	t.Logf("block clones: %s", run(t, "zpool", "get", "-Hp", "-o", "value", "bcloneused,bclonesaved", "tank"))
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	if _, err := os.Stat(filepath.Join(root, "overlay2")); err == nil {
		t.Error("overlay2's layers are left")
	}
	m.startMigrated(t, engine.PluginName)
	m.removeContent(t)
}

// TestMigrateBackToOverlay2 copies layers from the plugin's dataset to another one.
func TestMigrateBackToOverlay2(t *testing.T) {
	m := &migratedEngine{engine.StartOnPlugin(t, engine.Options{Root: mountDataRoot(t, "tank/backto")}, "tank/backto-layers")}
	m.createContent(t)
	before := m.collectFacts(t)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--back"))
	m.startMigrated(t, "overlay2")
	requireSameFacts(t, "back", m.collectFacts(t), before)
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, "overlay2")
	m.removeContent(t)
}

// TestMigrateFromVFS migrates an engine from vfs, and frees old layers on the way.
func TestMigrateFromVFS(t *testing.T) {
	const layers = "tank/fromvfs"
	engine.CreateDataset(t, layers)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs"})}
	m.InstallPlugin(t, layers)
	m.createContent(t)
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--reclaim")
	// BuildKit's cache remains: it is not migrated.
	recorded := m.listRecordedLayers(t)
	left, err := os.ReadDir(filepath.Join(m.Root, "vfs/dir"))
	must(t, err)
	for _, layer := range left {
		if slices.Contains(recorded, layer.Name()) {
			t.Errorf("the old layer %s is left", layer.Name())
		}
	}
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.Stop(t)
	m.migrate(t, 3, "--undo")
	m.migrate(t, 0, "--finish")
	if _, err := os.Stat(filepath.Join(m.Root, "vfs")); err == nil {
		t.Error("vfs's directory is left")
	}
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.removeContent(t)
}

// TestMigrateFromBtrfs migrates an engine from btrfs, back, and again. It deletes the
// old layers, with subvolumes that a container made in one.
func TestMigrateFromBtrfs(t *testing.T) {
	const layers = "tank/frombtrfs"
	engine.CreateDataset(t, layers)
	root := makeBtrfsDataRoot(t)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: root, Driver: "btrfs", Config: map[string]any{"storage-opts": []string{"btrfs.min_space=1M"}}})}
	m.InstallPlugin(t, layers)
	m.createContent(t, "--storage-opt", "size=64M")
	m.createSubvolumes(t, "changed")
	before := m.collectFacts(t)
	m.Stop(t)
	old := listSubvolumes(t, root)
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run"))
	m.migrate(t, 0)
	must(t, compareLists(listSubvolumes(t, root), old))
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.requireUnproven(t)
	m.exerciseContent(t)
	m.requireLimit(t, 64<<20)
	m.Stop(t)
	m.migrate(t, 0, "--undo")
	m.startMigrated(t, "btrfs")
	requireSameFacts(t, "undone", dropRunTraces(m.collectFacts(t)), dropRunTraces(before))
	m.Stop(t)
	m.migrate(t, 0)
	m.startMigrated(t, engine.PluginName)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	must(t, compareLists(listSubvolumes(t, root), nil))
	if _, err := os.Stat(filepath.Join(root, "btrfs")); err == nil {
		t.Error("the driver's directory is left")
	}
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.removeContent(t)
}

// TestMigrateUnderLiveRestore refuses to migrate, undo or finish while a container runs
// without dockerd, whatever the driver: vfs mounts nothing.
func TestMigrateUnderLiveRestore(t *testing.T) {
	const layers = "tank/outlived"
	engine.CreateDataset(t, layers)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs", Config: map[string]any{"live-restore": true}})}
	m.InstallPlugin(t, layers)
	importTiny(t, m.Engine, "tiny")
	startContainer(t, m.Engine, "worker")
	refused := func(args ...string) {
		t.Helper()
		if out := m.migrate(t, 3, args...); !strings.Contains(out, "live-restore") {
			t.Errorf("migrate %q says\n%s", args, out)
		}
	}
	m.Stop(t)
	refused()
	m.Again(t)
	requireIntact(t, m.Engine, "worker")
	m.Docker(t, "stop", "worker")
	m.stopWithPlugin(t)
	m.migrate(t, 0)
	m.startMigrated(t, engine.PluginName)
	m.Stop(t)
	m.Config["live-restore"] = true
	m.Again(t)
	m.Docker(t, "start", "worker")
	m.Stop(t)
	refused("--undo")
	refused("--finish")
	m.Again(t)
	requireIntact(t, m.Engine, "worker")
	m.Docker(t, "rm", "-f", "worker")
	m.stopWithPlugin(t)
	m.migrate(t, 0, "--finish")
}

// stopWithPlugin switches live-restore off and stops the engine, and the plugin with
// it.
func (m *migratedEngine) stopWithPlugin(t *testing.T) {
	t.Helper()
	m.Stop(t)
	delete(m.Config, "live-restore")
	m.Again(t)
	m.Stop(t)
}

// mountDataRoot mounts a new dataset as a data-root.
func mountDataRoot(t *testing.T, dataset string) string {
	t.Helper()
	engine.CreateDataset(t, dataset)
	dir := makeDataRoot(t)
	run(t, "mount", "-t", "zfs", dataset, dir)
	return dir
}
