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

// How often is behind -args: -kills 100.
var kills = flag.Int("kills", 20, "how often a migration is killed")

// TestMigrateFromZFS moves an engine from moby's zfs driver to the plugin, and ends
// that when it was seen to work.
func TestMigrateFromZFS(t *testing.T) {
	const old, layers = "tank/old", "tank/new"
	m := startOnZFS(t, old, layers)
	before := m.collectFacts(t)
	if out := m.runOperator(t, 3, "migrate", "--yes"); !strings.Contains(out, "stop docker") {
		t.Errorf("under a running engine it says\n%s", out)
	}
	m.Stop(t)
	datasets := listDatasets(t, old)
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run"))
	m.migrate(t, 0)
	must(t, compareLists(listDatasets(t, old), datasets))
	if out := m.migrate(t, 3, "--finish"); !strings.Contains(out, "has not run with the driver") {
		t.Errorf("before anything ran on the new layers it says\n%s", out)
	}
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "migrated", m.collectFacts(t), before)
	m.runOperator(t, 0, "verify")
	m.exerciseContent(t)
	m.requireLimit(t, 64<<20)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	must(t, compareLists(listDatasets(t, old), []string{old}))
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.removeContent(t)
}

// TestMigrateFromZFSIsUndone after the engine has run on the plugin.
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
	must(t, compareLists(listDatasets(t, layers), []string{layers}))
	m.startMigrated(t, "zfs")
	requireSameFacts(t, "undone", dropRunTraces(m.collectFacts(t)), dropRunTraces(before))
	m.removeContent(t)
}

// TestMigrateFromZFSSurvives being killed again and again on the way, and back.
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

// TestMigrateBackToZFS makes clones of what the plugin has, killed on the way.
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

// startOnZFS is an engine on moby's zfs driver, with all that fill makes and the plugin.
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

// removeContent removes all that fill made.
func (m *migratedEngine) removeContent(t *testing.T) {
	t.Helper()
	m.Docker(t, append([]string{"rm", "-f"}, movedContainers...)...)
	m.Docker(t, "system", "prune", "-af")
	m.Stop(t)
}

// migrateUnderKills kills a migration at random moments, and its undo when it got to an end,
// and then lets it run to its end. A run that ends before is no kill, and says how
// long the next one may take.
func (m *migratedEngine) migrateUnderKills(t *testing.T, args ...string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	begin := time.Now()
	m.migrate(t, 0, args...)
	took := map[bool]time.Duration{false: time.Since(begin)} // by whether it is an undo
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
		// Every third ends, so that all kills are not of one undo that never does.
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

// TestMigrateFromOverlay2InPlace moves an engine from overlay2 on ZFS to the plugin
// on the same dataset: nothing is copied.
func TestMigrateFromOverlay2InPlace(t *testing.T) {
	const dataset = "tank/inplace"
	m := startOnOverlay2(t, dataset)
	before := m.collectFacts(t)
	m.Stop(t)
	used := inguest.UsedSpace(t, dataset)
	t.Log(m.runOperator(t, 0, "migrate", "--dry-run"))
	begin := time.Now()
	t.Log(m.migrate(t, 0))
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

// TestMigrateInPlaceAndBack loses nothing of what was made since, by an undo and by the
// way back.
func TestMigrateInPlaceAndBack(t *testing.T) {
	m := startOnOverlay2(t, "tank/toandfro")
	m.Stop(t)
	m.migrate(t, 0)
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)
	m.Docker(t, "commit", "changed", "later")
	after := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--undo")
	m.startMigrated(t, "overlay2")
	requireSameFacts(t, "undone", m.collectFacts(t), after)
	m.Stop(t)
	m.migrate(t, 0)
	m.migrate(t, 0, "--finish")
	t.Log(m.migrate(t, 0, "--back"))
	m.startMigrated(t, "overlay2")
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, "overlay2")
	m.removeContent(t)
}

// startOnOverlay2 is an engine on overlay2 on a dataset, with all that fill makes, and the
// plugin, which has none of its own.
func startOnOverlay2(t *testing.T, dataset string) *migratedEngine {
	t.Helper()
	m := &migratedEngine{engine.Start(t, engine.Options{Root: mountDataRoot(t, dataset), Driver: "overlay2"})}
	m.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	m.Docker(t, "plugin", "enable", engine.PluginName)
	m.createContent(t)
	return m
}

// TestMigrateFromOverlay2Apart moves an engine from overlay2 on ZFS to the plugin on
// another dataset of the pool: files share their blocks.
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

// TestMigrateFromVFS moves an engine from vfs, freeing the old layers on the way.
func TestMigrateFromVFS(t *testing.T) {
	const layers = "tank/fromvfs"
	engine.CreateDataset(t, layers)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs"})}
	m.InstallPlugin(t, layers)
	m.createContent(t)
	before := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--reclaim")
	// What is left is BuildKit's cache, which is not carried.
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

// TestMigrateFromBtrfs moves an engine from btrfs, back, and again, and deletes the old
// layers, subvolumes that were made in one too.
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
	m.runOperator(t, 0, "verify")
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

// TestMigrateUnderLiveRestore is refused while a container goes on without dockerd,
// whatever the driver: vfs mounts nothing. So are an undo and an end.
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

// stopWithPlugin stops the engine and its plugin.
func (m *migratedEngine) stopWithPlugin(t *testing.T) {
	t.Helper()
	m.Stop(t)
	delete(m.Config, "live-restore")
	m.Again(t)
	m.Stop(t)
}

// mountDataRoot is a data-root that is a dataset of its own.
func mountDataRoot(t *testing.T, dataset string) string {
	t.Helper()
	engine.CreateDataset(t, dataset)
	dir := makeDataRoot(t)
	run(t, "mount", "-t", "zfs", dataset, dir)
	return dir
}
