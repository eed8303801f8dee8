//go:build vm

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRollbackOfOneContainer brings what a container had written back: into a directory beside
// the running engine, into another container, and in the place of what it wrote since. Other
// containers stay.
func TestRollbackOfOneContainer(t *testing.T) {
	s := newSnapshotEngine(t, false)
	importTiny(t, s.Engine, "tiny")
	containers := []string{"plain", "limited"}
	startContainer(t, s.Engine, "plain")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=24M")
	s.StopContainers(t, "plain", "limited")
	name, code := runOperator(t, "snapshot", "--dataset", s.dataset, "--records", s.records)
	if code != 0 {
		t.Fatalf("snapshot exits with %d and says\n%s", code, name)
	}
	startContainer(t, s.Engine, "other")
	s.StartContainers(t, containers...)
	for _, container := range containers {
		s.mustExecShell(t, container, "rm /own; echo later >/later; mkdir /etc/new")
	}
	s.Docker(t, append([]string{"stop", "other"}, containers...)...)

	back := func(container string, more ...string) (string, int) {
		return runOperator(t, append([]string{"rollback", name, "--container", container, "--config-file", s.UsedConfig()}, more...)...)
	}
	for _, container := range containers {
		dir := filepath.Join(t.TempDir(), container)
		if out, code := back(container, "--to", dir, "--yes"); code != 0 {
			t.Errorf("a copy of %s exits with %d and says\n%s", container, code, out)
		}
		if raw, err := os.ReadFile(dir + "/own"); err != nil || string(raw) != container+"\n" {
			t.Errorf("the copy of %s has %q, %v", container, raw, err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/etc/marker", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			t.Errorf("a deletion is %+v, %v", st, err)
		}
		if _, err := os.Lstat(dir + "/later"); err == nil {
			t.Error("the copy has a file that was made later")
		}
		if out, code := back(container, "--to", dir, "--yes"); code == 0 || !strings.Contains(out, "is not empty") {
			t.Errorf("a second copy exits with %d and says\n%s", code, out)
		}
		if out, code := back(container, "--yes"); code != 3 || !strings.Contains(out, "dockerd") {
			t.Errorf("beside the engine it exits with %d and says\n%s", code, out)
		}
	}
	importTiny(t, s.Engine, "apart") // another image
	for name, options := range map[string][]string{"plain-copy": {"tiny"}, "limited-copy": {"--storage-opt", "size=20M", "tiny"}, "stranger": {"apart"}} {
		s.Docker(t, append(append([]string{"create", "--network", "none", "--name", name}, options...), "sleep", "1000000")...)
	}
	if out, code := back("plain", "--into", "stranger", "--yes"); code != 1 || !strings.Contains(out, "another image") {
		t.Errorf("into a container of another image it exits with %d and says\n%s", code, out)
	}
	if out, code := back("other", "--dry-run"); code != 1 || !strings.Contains(out, "it was made later") {
		t.Errorf("of a container made later: %d\n%s", code, out)
	}

	s.Stop(t)
	s.awaitUnmounted(t)
	for _, container := range containers {
		for _, where := range [][]string{{"--into", container + "-copy"}, nil} {
			if out, code := back(container, append(where, "--yes")...); code != 0 {
				t.Errorf("%s %q exits with %d and says\n%s", container, where, code, out)
			}
		}
	}
	s.Again(t)
	for _, container := range containers {
		s.StartContainers(t, container+"-copy")
		if out := s.MustExec(t, container+"-copy", "cat", "/own"); out != container {
			t.Errorf("the copy of %s holds %q", container, out)
		}
		s.StartContainers(t, container)
		requireIntact(t, s.Engine, container)
		if out := s.MustExec(t, container, "ls", "/", "/etc"); strings.Contains(out, "later") || strings.Contains(out, "new") {
			t.Errorf("%s has\n%s", container, out)
		}
	}
	requireTotal(t, s.testEngine, "limited", 24*mib)
	requireTotal(t, s.testEngine, "limited-copy", 20*mib)
	s.StartContainers(t, "other")
	requireIntact(t, s.Engine, "other")
	s.Docker(t, append([]string{"rm", "-f", "other", "plain-copy", "limited-copy", "stranger"}, containers...)...)
	s.Stop(t)
	s.awaitUnmounted(t)
}
