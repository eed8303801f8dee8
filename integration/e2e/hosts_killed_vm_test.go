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

// layouts are those of datasets on hosts. The last one has what the others have; few kills go
// to it alone.
var layouts = []struct {
	name string
	make func(t *testing.T) *killedHost
}{
	{"OfSetup", func(t *testing.T) *killedHost { return newKilledHost(t, "tank/plain", func(*killedHost) {}) }},
	{"NestedDatasets", func(t *testing.T) *killedHost {
		return newKilledHost(t, "tank/nested", func(h *killedHost) { h.nest(t) })
	}},
	{"NestedDatasetsOnAnEncryptedPool", func(t *testing.T) *killedHost {
		key := makeEncryptedPool(t, "locked")
		return newKilledHost(t, "locked/docker", func(h *killedHost) {
			h.key = key
			h.nest(t)
		})
	}},
}

// fewKills is the most kills that go to one layout.
const fewKills = 5

func isShort() bool { return *kills <= fewKills }

// TestKilled kills what changes a host: rollback, backup and restore, setup, its
// move of the data-root, and setup --remove.
// -kills says how often each (HOST_KILLS of scripts/test). A command that was killed is run again, and ends. The content of
// layers, records and volumes is compared then.
func TestKilled(t *testing.T) {
	chosen := layouts
	if isShort() {
		chosen = layouts[len(layouts)-1:]
	}
	for _, l := range chosen {
		t.Run(l.name, func(t *testing.T) {
			h := l.make(t)
			t.Run("Rollback", h.killRollback)
			t.Run("Backup", h.killBackup)
			t.Run("Leaving", h.killLeaving)
			t.Run("Setup", h.killSetup)
			t.Run("Move", h.killMove)
		})
	}
}

// nest makes a dataset for one volume, another in the data-root, and a volume that is a bind of
// a directory elsewhere.
func (h *killedHost) nest(t *testing.T) {
	t.Helper()
	elsewhere, bound := inguest.MakeDiskDir(t), filepath.Join(h.root, "volumes/bound")
	for _, dataset := range []string{h.records + "/volumes/db", h.records + "/extra"} {
		run(t, "zfs", "create", dataset)
		t.Cleanup(func() { run(t, "zfs", "unmount", dataset) })
	}
	for _, dir := range []string{bound, filepath.Join(h.root, "volumes/db/_data")} { // dockerd takes db for a volume
		must(t, os.MkdirAll(dir, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(elsewhere, "text"), []byte("elsewhere"), 0o600))
	run(t, "mount", "--bind", elsewhere, bound)
	t.Cleanup(func() { run(t, "umount", bound) })
}

// makeEncryptedPool makes a pool whose root dataset has the key, and returns the key's file.
func makeEncryptedPool(t *testing.T, pool string) (key string) {
	t.Helper()
	dir := inguest.MakeDiskDir(t)
	key, disk := filepath.Join(dir, "key"), filepath.Join(dir, "disk")
	must(t, os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600))
	run(t, "truncate", "-s", "1G", disk)
	run(t, "zpool", "create", "-m", "none", "-O", "encryption=on", "-O", "keyformat=raw", "-O", "keylocation=file://"+key, pool, disk)
	t.Cleanup(func() { run(t, "zpool", "destroy", pool) })
	return key
}

// killedHost is a host that overlayzfs setup made, with an engine that is stopped.
type killedHost struct {
	*snapshotEngine
	*killer
	root, config string
	key          string // the file of the key, on an encrypted pool
	snapshot     string // of everything, while the engine had nothing to do
	before       content
	facts        []string
}

// newKilledHost makes a host and its content. more prepares it further before the engine
// starts.
func newKilledHost(t *testing.T, parent string, more func(*killedHost)) *killedHost {
	t.Helper()
	h := &killedHost{killer: newKiller(t), snapshotEngine: &snapshotEngine{records: parent}}
	h.root, h.config = prepareHost(t, parent)
	must(t, os.WriteFile(h.config, []byte(`{"log-level": "warn", "storage-driver": "vfs"}`), 0o644))
	run(t, operatorPath, h.setupArgs()...)
	more(h)
	h.mounts = listMountsBelow(t, h.root, "")
	e := engine.Start(t, engine.Options{Root: h.root, Driver: "vfs", ConfigFile: h.config})
	h.testEngine = &testEngine{Engine: e, dataset: parent + "/layers"}
	run(t, operatorPath, append(h.setupArgs(), "--host", e.Host(), "--plugin-dir", engine.PluginDir(t))...)
	e.Stop(t)
	e.Driver = engine.PluginName
	e.Again(t)

	importTiny(t, e, "tiny")
	startContainer(t, e, "plain", "-v", "db:/data")
	h.mustExecShell(t, "plain", "mkdir /data/sub; echo then >/data/text; ln /data/text /data/sub/link; dd if=/dev/urandom of=/data/noise bs=1M count=4 2>&1")
	startContainer(t, e, "limited", "--storage-opt", "size=24M")
	startContainer(t, e, "gone", "--storage-opt", "size=24M")
	e.StopContainers(t, "plain", "limited", "gone")
	if !isShort() {
		h.facts = h.collectFacts(t)
	}
	h.snapshot = lastLine(run(t, operatorPath, "snapshot", "--records", parent, "--config-file", h.config))
	h.before = content{}
	for _, dataset := range h.datasetsWith(t, parent, h.snapshot) {
		h.before[dataset] = describeDataset(t, dataset+"@"+h.snapshot)
	}
	e.Docker(t, "rm", "gone")
	e.Stop(t)
	h.awaitUnmounted(t)
	return h
}

func (h *killedHost) setupArgs() []string {
	return []string{"setup", h.records, "--way", "plugin", "--root", h.root, "--config-file", h.config, "--yes"}
}

func lastLine(text string) string {
	lines := strings.Split(text, "\n")
	return lines[len(lines)-1]
}

// datasetsWith lists the datasets at and below one that have a snapshot. Spares are none: a
// rollback does not bring them back.
func (h *killedHost) datasetsWith(t testing.TB, below, snapshot string) (names []string) {
	t.Helper()
	for _, name := range inguest.ListDatasets(t, below) {
		if dataset, is := strings.CutSuffix(name, "@"+snapshot); is {
			names = append(names, dataset)
		}
	}
	return names
}

// volumes describes the volumes' datasets.
func (h *killedHost) volumes(t testing.TB) content {
	t.Helper()
	c := content{}
	for _, dataset := range inguest.ListDatasets(t, h.records+"/volumes") {
		if !strings.Contains(dataset, "@") {
			c[dataset] = describeDataset(t, dataset)
		}
	}
	return c
}

// killRollback changes everything and rolls it back.
func (h *killedHost) killRollback(t *testing.T) {
	const verb = "rollback"
	for !h.isDone(verb) {
		h.harm(t)
		volumes := h.volumes(t)
		h.untilDone(t, verb, func() []*exec.Cmd {
			return operate("rollback", h.snapshot, "--config-file", h.config, "--destroy-newer", "--yes")
		})
		h.awaitUnmounted(t)
		h.before.require(t, "after a rollback", asItWas)
		volumes.require(t, "after a rollback", asItWas)
	}
	h.report(t, verb)
	if isShort() {
		return // TestRollback starts the engine
	}
	h.Again(t)
	for _, d := range differences(h.collectFacts(t), h.facts) {
		t.Error(d)
	}
	h.StartContainers(t, "limited", "gone")
	requireIntact(t, h.Engine, "limited")
	requireIntact(t, h.Engine, "gone")
	h.StopContainers(t, "limited", "gone")
	h.Stop(t)
	h.awaitUnmounted(t)
}

// harm changes records, layers, limited containers and volumes, and takes a snapshot that is
// newer than the one to roll back to.
func (h *killedHost) harm(t testing.TB) {
	t.Helper()
	for dataset := range h.before {
		if !slices.Contains(inguest.ListDatasets(t, h.records), dataset) {
			continue // of a container that is removed
		}
		changeDataset(t, dataset, func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "junk"), []byte("junk"), 0o600))
			for _, name := range []string{"image", "l", "diff/own"} {
				must(t, os.RemoveAll(filepath.Join(dir, name)))
			}
		})
	}
	h.changeVolume(t)
	run(t, "zfs", "snapshot", "-r", h.records+"@newer-"+h.text())
	h.changeVolume(t)
}

// changeVolume writes to the volume db.
func (h *killedHost) changeVolume(t testing.TB) {
	t.Helper()
	text := filepath.Join(h.root, "volumes/db/_data/text")
	must(t, os.WriteFile(text, []byte("changed "+h.text()), 0o600))
}

// killBackup backs up to another dataset, in full and then what has changed, and mounts it.
func (h *killedHost) killBackup(t *testing.T) {
	const full, changes, mounting = "backup and restore", "backup and restore of changes", "restore --mount"
	const copied = "tank/copied"
	t.Cleanup(func() {
		if t.Failed() {
			_ = exec.Command("zfs", "destroy", "-r", copied).Run()
		}
	})
	root := filepath.Join(inguest.MakeDiskDir(t), "docker")
	for !h.isDone(full, changes, mounting) {
		h.untilDone(t, full, func() []*exec.Cmd { return h.backup(t, copied) })
		h.requireCopy(t, copied, full)
		h.changeVolume(t)
		changeDataset(t, h.dataset, func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "junk"), []byte(h.text()), 0o600))
		})
		h.untilDone(t, changes, func() []*exec.Cmd { return h.backup(t, copied) })
		h.loadKey(t, copied)
		h.requireCopy(t, copied, changes)
		h.untilDone(t, mounting, func() []*exec.Cmd { return operate("restore", copied, "--mount", "--root", root, "--yes") })
		h.requireCopy(t, copied, mounting)
		want := strings.ReplaceAll(run(t, "cat", filepath.Join(h.root, "volumes/db/_data/text")), h.root, root)
		if got := run(t, "cat", filepath.Join(root, "volumes/db/_data/text")); got != want {
			t.Fatalf("the mounted copy's volume holds %q, want %q", got, want)
		}
		run(t, "umount", "-R", root)
		run(t, "zfs", "destroy", "-r", copied)
		h.dropSnapshots(t)
	}
	h.report(t, full, changes, mounting)
}

// backup returns the two commands that send to a dataset what it lacks.
func (h *killedHost) backup(t testing.TB, to string) []*exec.Cmd {
	t.Helper()
	have := filepath.Join(filepath.Dir(h.root), "have.json")
	must(t, os.WriteFile(have, []byte(run(t, operatorPath, "restore", to, "--have")), 0o600))
	return connect(t, exec.Command(operatorPath, "backup", "--config-file", h.config, "--have", have), exec.Command(operatorPath, "restore", to, "--yes"))
}

// loadKey loads the key of an encrypted copy, once. Its datasets share it.
func (h *killedHost) loadKey(t testing.TB, dataset string) {
	t.Helper()
	if h.key != "" && run(t, "zfs", "get", "-Ho", "value", "keystatus", dataset) == "unavailable" {
		run(t, "zfs", "load-key", "-L", "file://"+h.key, dataset)
	}
}

// requireCopy fails the test unless the copy has every dataset of the last backup, with its
// content.
func (h *killedHost) requireCopy(t testing.TB, copied, what string) {
	t.Helper()
	h.loadKey(t, copied)
	names := strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-s", "createtxg", "-d", "1", copied))
	_, name, _ := strings.Cut(names[len(names)-1], "@")
	rename := func(dataset string) string { return copied + strings.TrimPrefix(dataset, h.records) }
	all, want := h.datasetsWith(t, copied, name), content{}
	for _, dataset := range h.datasetsWith(t, h.records, name) {
		if strings.Contains(dataset, "/removed") {
			continue
		}
		want[dataset] = describeDataset(t, dataset)
		if !slices.Contains(all, rename(dataset)) {
			t.Fatalf("%s: the copy lacks dataset %s of snapshot %s", what, dataset, name)
		}
	}
	if _, there := want[h.records+"/volumes"]; !there || len(want) < 4 {
		t.Fatalf("%s: snapshot %s has the datasets %q only", what, name, all)
	}
	want.require(t, what, rename)
}

// dropSnapshots destroys the snapshots that the backups left.
func (h *killedHost) dropSnapshots(t testing.TB) {
	t.Helper()
	for _, name := range strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-d", "1", h.records)) {
		if _, name, _ := strings.Cut(name, "@"); name != h.snapshot {
			run(t, "zfs", "destroy", "-r", h.records+"@"+name)
		}
	}
}
