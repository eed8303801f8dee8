//go:build vm

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/images"
)

// TestLifecycleOnAnEngine runs through the events in one engine's life. Its parts share
// the engine, because a start is slow under emulation. Each part leaves the engine as
// it was, which is checked.
func TestLifecycleOnAnEngine(t *testing.T) {
	s := newTestEngine(t, "life", nil)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *testEngine)
	}{
		{"UseLeavesNoOpenFiles", cycleLayers},
		{"ThePluginForksNothing", traceForks},
		{"PluginKilledIdle", killPluginIdle},
		{"PluginKilledUnderAContainer", killPluginUnderContainer},
		{"PluginKilledDuringApply", killPluginDuringApply},
		{"PluginKilledDuringLoad", killPluginDuringLoad},
		{"PluginKilledDuringCommit", killPluginDuringCommit},
		{"PluginDisabledAndEnabled", disableAndEnablePlugin},
		{"EngineRestarted", restartEngine},
		{"EngineKilled", killEngine},
		{"BothKilledDuringApply", killBothDuringApply},
	} {
		t.Run(part.name, func(t *testing.T) {
			defer s.removeLeftovers(t)
			part.run(t, s)
			s.requireBaseline(t)
		})
	}
	s.Docker(t, "rmi", "tiny")
	s.layers = nil
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// removeLeftovers removes what a failed part left, so that the next part fails for its
// own reasons only.
func (s *testEngine) removeLeftovers(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, id := range strings.Fields(s.Docker(t, "ps", "-aq")) {
		if _, err := s.Try("rm", "-f", id); err != nil {
			t.Log(err)
		}
	}
	for _, id := range strings.Fields(s.Docker(t, "images", "-q")) {
		if out, err := s.Try("image", "inspect", "-f", "{{.RepoTags}}", id); err == nil && out != "[tiny:latest]" {
			_, err = s.Try("rmi", "-f", id)
			if err != nil {
				t.Log(err)
			}
		}
	}
}

// cycleLayers checks that use of layers leaves no open files in the plugin's process.
// The engine's connections come and go, so that the number of sockets may vary.
func cycleLayers(t *testing.T, s *testEngine) {
	const rounds = 20
	cycle := func() {
		s.CreateContainer(t, "cycle", "tiny")
		s.CopyInto(t, "cycle", "/tmp", images.MakeLayer(t, images.Entry{Header: tar.Header{Name: "copied", Mode: 0o644, Typeflag: tar.TypeReg}, Body: "copied"}))
		var changes []struct{ Path string }
		s.Ask(t, "/containers/cycle/changes", &changes)
		if !slices.Contains(changes, struct{ Path string }{"/tmp/copied"}) {
			t.Errorf("the container's changes are %q", changes)
		}
		s.RemoveContainers(t, "cycle")
	}
	runTiny(t, s.Engine, "tiny", "cat", "/etc/marker")
	cycle()
	pid := s.pluginPID(t)
	must(t, awaitReaper(s.storeDir(t)))
	before := countOpenFiles(t, pid)
	for range rounds - 5 {
		cycle()
	}
	for range 5 {
		runTiny(t, s.Engine, "tiny", "true")
	}
	if now := s.pluginPID(t); now != pid {
		t.Fatalf("the plugin's process was %d and is %d", pid, now)
	}
	// The plugin deletes removed layers in the background, and has files open for that.
	err := poll(func() error {
		for kind, n := range countOpenFiles(t, pid) {
			slack := 0
			if kind == "socket" {
				slack = rounds / 2
			}
			if n > before[kind]+slack {
				return fmt.Errorf("%s: %d descriptors, %d before %d cycles", kind, n, before[kind], rounds)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// countOpenFiles counts a process's file descriptors by kind.
func countOpenFiles(t *testing.T, pid int) map[string]int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	must(t, err)
	count := make(map[string]int)
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if os.IsNotExist(err) {
			continue // closed meanwhile
		}
		must(t, err)
		kind, _, _ := strings.Cut(target, ":[")
		count[kind]++
	}
	return count
}

// traceForks traces the plugin's process through the life of an image. The process may
// start threads, but neither processes nor programs.
func traceForks(t *testing.T, s *testEngine) {
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-o", trace, "-e", "trace=clone,clone3,fork,vfork,execve,execveat,mount,fsmount,umount2",
		"-p", fmt.Sprint(s.pluginPID(t)))
	var said bytes.Buffer
	cmd.Stderr = &said
	must(t, cmd.Start())
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		must(t, cmd.Process.Signal(syscall.SIGINT))
		_ = cmd.Wait() // the signal ends it
	}
	defer stop()
	waitFor(t, func() error { return checkTraced(s.pluginPID(t), cmd.Process.Pid) })

	buildImage(t, s.Engine, "traced")
	if out := runTiny(t, s.Engine, "traced", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image built holds %q", out)
	}
	verifyImage(t, s.Engine, "traced")
	exerciseLimits(t, s, "traced")
	s.Docker(t, "rmi", "traced")
	stop()

	raw, err := os.ReadFile(trace)
	must(t, err)
	calls := string(raw)
	if !regexp.MustCompile(`(?m)^\d+ +(mount|fsmount)\(`).MatchString(calls) || !strings.Contains(calls, "umount2(") {
		t.Fatalf("the trace shows no mounts, so it proves nothing:\n%s\n%s", said.String(), calls)
	}
	for line := range strings.Lines(calls) {
		if regexp.MustCompile(`^\d+ +(fork|vfork|execve|execveat)\(`).MatchString(line) ||
			regexp.MustCompile(`^\d+ +clone3?\(`).MatchString(line) && !strings.Contains(line, "CLONE_THREAD") {
			t.Errorf("the plugin's process forks: %s", line)
		}
	}
}

// exerciseLimits exercises a container with a limit: everything that changes its
// dataset.
func exerciseLimits(t *testing.T, s *testEngine, image string) {
	t.Helper()
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "limited",
		"--storage-opt", "size=24M", "--storage-opt", "inodes=5000", "--storage-opt", "sync=always", image, "sleep", "1000000")
	s.requireOneDataset(t, "limited")
	must(t, s.dialPlugin(t).SetLimits(t.Context(), s.readLayerID(t, "limited"), map[string]string{"size": "32M"}))
	s.fillToLimit(t, "limited", 32*mib)
	s.StopContainers(t, "limited")
	s.Docker(t, "commit", "limited", "traced-too")
	s.Docker(t, "rmi", "traced-too")
	s.Docker(t, "rm", "limited")
}

// checkTraced returns an error until every thread of a process is traced.
func checkTraced(pid, tracer int) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return err
	}
	want := fmt.Sprintf("TracerPid:\t%d\n", tracer)
	for _, path := range tasks {
		status, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(status), want) {
			return fmt.Errorf("%s is not traced yet", path)
		}
	}
	return nil
}

// restartEngine stops the engine and starts it again.
func restartEngine(t *testing.T, s *testEngine) {
	buildImage(t, s.Engine, "built")
	startContainer(t, s.Engine, "stopped")
	s.StopContainers(t, "stopped")
	startContainer(t, s.Engine, "always", "--restart", "always")
	before := readImageID(t, s.Engine, "built")

	s.Stop(t)
	s.requireStopped(t)
	s.Again(t)

	waitFor(t, func() error { return checkRunning(s.Engine, "always") })
	requireIntact(t, s.Engine, "always")
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	if now := readImageID(t, s.Engine, "built"); now != before {
		t.Errorf("the image was %s and is %s", before, now)
	}
	verifyImage(t, s.Engine, "built")
	if out := s.Docker(t, "diff", "stopped"); !strings.Contains(out, "A /own") || !strings.Contains(out, "D /etc/marker") {
		t.Errorf("the stopped container's changes:\n%s", out)
	}
	s.StartContainers(t, "stopped")
	requireIntact(t, s.Engine, "stopped")
	s.RemoveContainers(t, "stopped", "always")
	s.Docker(t, "rmi", "built")
}

// killEngine kills the engine under a container.
func killEngine(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "survivor")
	s.Kill(t)
	s.againAfterKill(t)
	if err := checkRunning(s.Engine, "survivor"); err == nil {
		t.Error("the container runs although the engine does not keep containers over its restart")
	}
	s.StartContainers(t, "survivor")
	requireIntact(t, s.Engine, "survivor")
	s.RemoveContainers(t, "survivor")
	if out := runTiny(t, s.Engine, "tiny", "cat", "/etc/marker"); out != "tiny" {
		t.Errorf("the image holds %q", out)
	}
}
