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

// TestMigrateFromZFSAndBack migrates an engine from moby's zfs driver to the plugin, undoes
// the migration, migrates again under kills, and migrates back under kills. All steps share
// one engine's content: making it takes longer than moving it.
func TestMigrateFromZFSAndBack(t *testing.T) {
	const old, layers, back = "tank/old", "tank/new", "tank/back"
	engine.CreateDataset(t, back)
	m := startOnZFS(t, old, layers)
	before := m.collectFacts(t)
	m.migrateFromZFS(t, old, before)
	t.Log(m.migrate(t, 0, "--undo"))
	must(t, compareLists(inguest.ListDatasets(t, layers), []string{layers}))
	m.startMigrated(t, "zfs")
	undone := m.collectFacts(t)
	requireSameFacts(t, "undone", dropRunTraces(undone), dropRunTraces(before))
	m.Stop(t)

	m.migrateUnderKills(t)
	m.startMigrated(t, engine.PluginName)
	requireSameFacts(t, "after all kills", m.collectFacts(t), undone)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	must(t, compareLists(inguest.ListDatasets(t, old), []string{old}))
	m.startMigrated(t, engine.PluginName)
	m.exerciseContent(t)

	m.replaceContent(t, "--storage-opt", "size=64M")
	before = m.collectFacts(t)
	m.Stop(t)
	m.migrateUnderKills(t, "--back", "--to", "zfs", "--zfs-dataset", back)
	m.startMigrated(t, "zfs")
	requireSameFacts(t, "back", m.collectFacts(t), before)
	m.exerciseContent(t)
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--finish"))
	m.startMigrated(t, "zfs")
	m.exerciseContent(t)
	m.removeContent(t)
}

// migrateFromZFS migrates an engine from the zfs driver, whose layers are in the dataset
// old, and has the engine run on the plugin. It leaves the engine stopped.
func (m *migratedEngine) migrateFromZFS(t *testing.T, old string, before []string) {
	t.Helper()
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
}

// startOnZFS starts an engine on moby's zfs driver, with content and the plugin.
func startOnZFS(t *testing.T, old, layers string) *migratedEngine {
	t.Helper()
	for _, dataset := range []string{old, layers} {
		engine.CreateDataset(t, dataset)
	}
	m := &migratedEngine{engine.Start(t, engine.Options{
		Root: makeDataRoot(t), Driver: "zfs", Config: map[string]any{"storage-opts": []string{"zfs.fsname=" + old}}, Containerd: startContainerd(t),
	})}
	m.InstallPlugin(t, layers)
	m.createContent(t, "--storage-opt", "size=64M")
	return m
}

// removeContent removes what createContent made, and stops the engine.
func (m *migratedEngine) removeContent(t *testing.T) {
	t.Helper()
	m.RemoveContainers(t, m.ListContainers(t)...)
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

// TestMigrateInPlaceAndBack migrates an engine from overlay2 on ZFS to the plugin on the same
// dataset, which copies nothing. Neither an undo nor a migration back loses what was made since.
func TestMigrateInPlaceAndBack(t *testing.T) {
	m := startOnOverlay2(t, "tank/inplace")
	m.migrateInPlace(t, "tank/inplace")
	m.Docker(t, "commit", "changed", "later")
	after := m.collectFacts(t)
	m.Stop(t)
	m.migrate(t, 0, "--undo")
	m.startMigrated(t, "overlay2")
	requireSameFacts(t, "undone", m.collectFacts(t), after)
	m.Stop(t)
	m.migrate(t, 0, "--in-place")
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, engine.PluginName)
	m.Docker(t, "rmi", "later", "opaque:1")
	m.Docker(t, "rm", "plain")
	m.Stop(t)
	t.Log(m.migrate(t, 0, "--back"))
	m.startMigrated(t, "overlay2")
	m.exerciseContent(t)
	m.Stop(t)
	m.migrate(t, 0, "--finish")
	m.startMigrated(t, "overlay2")
	m.removeContent(t)
}

// migrateInPlace migrates an engine from overlay2 on this dataset to the plugin, and starts it.
func (m *migratedEngine) migrateInPlace(t *testing.T, dataset string) {
	t.Helper()
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
}

// startOnOverlay2 starts an engine on overlay2 on a dataset, with content, and with the
// plugin, which has no dataset.
func startOnOverlay2(t *testing.T, dataset string) *migratedEngine {
	t.Helper()
	m := &migratedEngine{engine.Start(t, engine.Options{Root: mountDataRoot(t, dataset), Driver: "overlay2", Containerd: startContainerd(t)})}
	m.Docker(t, "plugin", "create", engine.PluginName, engine.PluginDir(t))
	m.Docker(t, "plugin", "enable", engine.PluginName)
	m.createContent(t)
	return m
}

// TestMigrateBetweenDatasets migrates an engine from overlay2 on ZFS to the plugin on another
// dataset of the pool, where files share their blocks, and back.
func TestMigrateBetweenDatasets(t *testing.T) {
	const dataset, layers = "tank/apart", "tank/apart-layers"
	root := mountDataRoot(t, dataset)
	engine.CreateDataset(t, layers)
	m := &migratedEngine{engine.Start(t, engine.Options{Root: root, Driver: "overlay2", Containerd: startContainerd(t)})}
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

	m.replaceContent(t)
	before = m.collectFacts(t)
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
	m := &migratedEngine{engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs", Containerd: startContainerd(t)})}
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
	m := &migratedEngine{engine.Start(t, engine.Options{
		Root: root, Driver: "btrfs", Config: map[string]any{"storage-opts": []string{"btrfs.min_space=1M"}}, Containerd: startContainerd(t),
	})}
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
	m.StopContainers(t, "worker")
	m.stopWithPlugin(t)
	m.migrate(t, 0)
	m.startMigrated(t, engine.PluginName)
	m.Stop(t)
	m.Config["live-restore"] = true
	m.Again(t)
	m.StartContainers(t, "worker")
	m.Stop(t)
	refused("--undo")
	refused("--finish")
	m.Again(t)
	requireIntact(t, m.Engine, "worker")
	m.RemoveContainers(t, "worker")
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
