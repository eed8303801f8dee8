//go:build vm

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// changeLimitsUnderLoad gives a container its first limit by the operator's command, raises and
// lowers it while the container writes, and takes it away.
func changeLimitsUnderLoad(t *testing.T, s *testEngine) {
	o := operatorEngine{s}
	startContainer(t, s.Engine, "box")
	sum := writeNoise(t, s, "box", "8")
	w := engine.StartWriter(t, s.Engine, "box", "/log")
	if out := o.runOperator(t, 3, "limit", "box", "--size", "64M"); !strings.Contains(out, "stop the container") {
		t.Errorf("a first limit for a container that runs: %s", out)
	}
	w.AwaitMore(t)
	before := w.CountLines(t)
	s.StopContainers(t, "box")
	o.runOperator(t, 0, "limit", "box", "--size", "64M")
	s.requireOneDataset(t, "box")
	s.StartContainers(t, "box")
	if now := w.CountLines(t); now < before {
		t.Errorf("%d lines are left of %d", now, before)
	}
	requireTotal(t, s, "box", 64*mib)

	w = engine.StartWriter(t, s.Engine, "box", "/second")
	for _, size := range []string{"48M", "96M", "40M", "80M"} {
		o.runOperator(t, 0, "limit", "box", "--size", size, "--inodes", "100000")
		w.AwaitMore(t)
	}
	if out := o.runOperator(t, 3, "limit", "box", "--size", "4M"); !strings.Contains(out, "delete files in the container first") {
		t.Errorf("a limit below what the container holds: %s", out)
	}
	requireTotal(t, s, "box", 80*mib)
	o.runOperator(t, 0, "limit", "box", "--none")
	w.AwaitMore(t)
	if total := s.readTotal(t, "box"); total < 1<<30 {
		t.Errorf("df shows %d bytes in a container whose limit was taken away", total)
	}
	w.Stop(t)
	requireNoise(t, s, "box", sum)
	requireIntact(t, s.Engine, "box")
	s.RemoveContainers(t, "box")
}

// killLimitCommand kills the command, and then the plugin, while a container's files are copied.
// The container has all of its files, and gets its limit later.
func killLimitCommand(t *testing.T, s *testEngine) {
	o := operatorEngine{s}
	startContainer(t, s.Engine, "box")
	sum := writeNoise(t, s, "box", "96")
	s.StopContainers(t, "box")
	for _, kill := range []func(*exec.Cmd) error{
		func(cmd *exec.Cmd) error { return cmd.Process.Kill() },
		func(*exec.Cmd) error { return killPlugin() },
	} {
		cmd := exec.Command(operatorPath, "limit", "box", "--size", "200M", "--config-file", s.UsedConfig())
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		hasEnded := false
		waitFor(t, func() error {
			select {
			case err := <-ended:
				t.Logf("the command was faster: %v", err)
				hasEnded = true
				return nil
			default:
			}
			if staged, err := os.ReadDir(filepath.Join(s.storeDir(t), ".overlayzfs", "new")); err != nil || len(staged) == 0 {
				return errors.Join(err, errors.New("nothing is copied yet"))
			}
			return nil
		})
		if err := kill(cmd); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if !hasEnded {
			t.Logf("the killed command: %v", <-ended)
		}
		waitFor(t, func() error { return checkNothingUnfinished(s.storeDir(t)) })
		s.StartContainers(t, "box")
		requireNoise(t, s, "box", sum)
		requireIntact(t, s.Engine, "box")
		s.StopContainers(t, "box")
	}
	o.runOperator(t, 0, "limit", "box", "--size", "200M")
	s.StartContainers(t, "box")
	requireNoise(t, s, "box", sum)
	requireTotal(t, s, "box", 200*mib)
	s.RemoveContainers(t, "box")
}

const noiseSum = "md5sum /kept/*"

// writeNoise writes files of 1 MB in a container, and returns their sums.
func writeNoise(t *testing.T, s *testEngine, container, files string) string {
	t.Helper()
	s.mustExecShell(t, container, "mkdir /kept; for i in $(seq "+files+"); do dd if=/dev/urandom of=/kept/$i bs=1M count=1 || exit; done")
	return s.mustExecShell(t, container, noiseSum)
}

func requireNoise(t *testing.T, s *testEngine, container, want string) {
	t.Helper()
	if got := s.mustExecShell(t, container, noiseSum); got != want {
		t.Errorf("files of container %s changed:\n%s\nwere\n%s", container, got, want)
	}
}
