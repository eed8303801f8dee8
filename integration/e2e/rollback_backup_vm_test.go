//go:build vm

package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestRollbackFromABackup follows docs/backup.md. Layers, limited containers, volumes and
// Docker's records go to another pool's dataset under a running engine, first all of it and
// then what has changed, and are restored after everything is lost. A removed limited
// container, whose dataset a snapshot of another program keeps, is in no one's way.
func TestRollbackFromABackup(t *testing.T) {
	s := newSnapshotEngine(t, true)
	importTiny(t, s.Engine, "tiny")
	startContainer(t, s.Engine, "plain", "-v", "db:/data")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=24M")
	startContainer(t, s.Engine, "gone", "--storage-opt", "size=24M")
	run(t, "zfs", "snapshot", "-r", s.records+"@autosnap")
	s.RemoveContainers(t, "gone")

	const copied = "tank/backup"
	t.Cleanup(func() { run(t, "zfs", "destroy", "-r", copied) })
	s.backUp(t, copied)
	s.writeVolume(t, "saved")
	s.mustExecShell(t, "plain", "echo changed >/changed")
	s.StopContainers(t, "plain", "limited")
	before := s.collectFacts(t)
	s.backUp(t, copied)
	if out, code := runOperator(t, "restore", copied, "--mount", "--root", s.Root, "--yes"); code != 3 || !strings.Contains(out, "is mounted on "+s.Root) {
		t.Errorf("mounting over a data-root in use exits with %d and says\n%s", code, out)
	}

	s.Stop(t)
	s.awaitUnmounted(t)
	run(t, "zfs", "unmount", s.records+"/volumes")
	run(t, "umount", s.Root)
	run(t, "zfs", "destroy", "-r", s.records)
	all := strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-s", "createtxg", "-d", "1", copied))
	_, name, _ := strings.Cut(all[len(all)-1], "@")
	run(t, "sh", "-ec", `"$0" backup "$1" --dataset "$2/layers" --records "$2" | "$0" restore "$3" --yes`, operatorPath, name, copied, s.records)
	if out, code := runOperator(t, "restore", s.records, "--mount", "--root", s.Root, "--yes"); code != 0 {
		t.Fatalf("mounting the restored backup exits with %d and says\n%s", code, out)
	}
	s.awaitUnmounted(t) // but for the volumes

	s.Again(t)
	for _, d := range differences(s.collectFacts(t), before) {
		t.Error(d)
	}
	if out, code := runOperator(t, "verify", "--config-file", s.UsedConfig()); code != 0 {
		t.Errorf("verify exits with %d and says\n%s", code, out)
	}
	for _, container := range []string{"plain", "limited"} {
		s.StartContainers(t, container)
		requireIntact(t, s.Engine, container)
	}
	if raw, err := os.ReadFile(s.Root + "/volumes/db/_data/text"); err != nil || string(raw) != "saved" {
		t.Errorf("the volume holds %q, %v", raw, err)
	}
	requireTotal(t, s.testEngine, "limited", 24*mib)
	s.RemoveContainers(t, "plain", "limited")
	s.Stop(t)
	s.awaitUnmounted(t)
	if out, code := runOperator(t, "rollback", name, "--dataset", s.dataset, "--records", s.records, "--destroy-newer", "--yes"); code != 0 {
		t.Errorf("a rollback to the restored snapshot exits with %d and says\n%s", code, out)
	}
	s.Again(t)
	for _, d := range differences(s.collectFacts(t), before) {
		t.Error(d)
	}
	s.RemoveContainers(t, "plain", "limited")
	s.Stop(t)
	s.awaitUnmounted(t)
}

// backUp sends to a dataset what it lacks, as docs/backup.md has it.
func (s *snapshotEngine) backUp(t *testing.T, dataset string) {
	t.Helper()
	run(t, "sh", "-ec", `"$0" restore "$1" --have >have.json
"$0" backup --dataset "$2" --records "$3" --have have.json | "$0" restore "$1" --yes
rm have.json`, operatorPath, dataset, s.dataset, s.records)
}
