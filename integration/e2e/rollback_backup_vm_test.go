//go:build vm

package e2e

import (
	"strings"
	"testing"
)

// TestRollbackFromABackup follows docs/backup.md. One stream of layers, limited
// containers and Docker's records is taken under a running engine, and restored after
// all of it is lost.
func TestRollbackFromABackup(t *testing.T) {
	s := newSnapshotEngine(t, false)
	importTiny(t, s.Engine, "tiny")
	startContainer(t, s.Engine, "plain")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=24M")
	s.Docker(t, "stop", "plain", "limited")
	before := s.collectFacts(t)
	name, code := runOperator(t, "snapshot", "--dataset", s.dataset, "--records", s.records)
	if code != 0 {
		t.Fatalf("snapshot exits with %d and says\n%s", code, name)
	}
	const backup = "tank/backup"
	sendReceive(t, s.records+"@"+name, backup)
	t.Cleanup(func() { run(t, "zfs", "destroy", "-r", backup) })

	s.Stop(t)
	s.awaitUnmounted(t)
	run(t, "umount", s.Root)
	run(t, "zfs", "destroy", "-r", s.records)
	sendReceive(t, backup+"@"+name, s.records)
	run(t, "zfs", "set", "mountpoint=legacy", s.dataset)
	run(t, "mount", "-t", "zfs", s.records, s.Root)

	s.Again(t)
	for _, d := range differences(s.collectFacts(t), before) {
		t.Error(d)
	}
	if out, code := runOperator(t, "verify", "--config-file", s.UsedConfig()); code != 0 {
		t.Errorf("verify exits with %d and says\n%s", code, out)
	}
	for _, container := range []string{"plain", "limited"} {
		s.Docker(t, "start", container)
		requireIntact(t, s.Engine, container)
	}
	requireTotal(t, s.testEngine, "limited", 24*mib)
	s.Docker(t, "rm", "-f", "plain", "limited")
	s.Stop(t)
	s.awaitUnmounted(t)
}

// sendReceive sends a snapshot recursively and receives it as a new dataset.
func sendReceive(t *testing.T, snapshot, dataset string) {
	t.Helper()
	if _, _, ok := strings.Cut(snapshot, "@"); !ok {
		t.Fatalf("%q is not a snapshot", snapshot)
	}
	run(t, "sh", "-c", `zfs send -R "$0" | zfs receive -u "$1"`, snapshot, dataset)
}
