//go:build vm

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestLifecycleLiveRestore stops and kills the engine under a container, which keeps
// running.
func TestLifecycleLiveRestore(t *testing.T) {
	s := newTestEngine(t, "live", map[string]any{})
	s.Stop(t)
	s.Config["live-restore"] = true
	s.Again(t)
	s.requireBaseline(t)
	startContainer(t, s.Engine, "worker")
	s.Docker(t, "exec", "-d", "worker", "sh", "-c", "i=0; while true; do i=$((i+1)); echo $i > /tick.new; cat /tick.new > /tick; sleep 0.2; done")
	container := s.Docker(t, "inspect", "-f", "{{.State.Pid}}", "worker")
	plugin := s.pluginPID(t)

	for _, end := range []struct {
		name string
		stop func(testing.TB)
	}{{"Stopped", s.Stop}, {"Killed", s.Kill}} {
		t.Run(end.name, func(t *testing.T) { s.requireContainerSurvives(t, end.stop, container, plugin) })
	}
	must(t, killPlugin())
	requireIntact(t, s.Engine, "worker")
	s.StopContainers(t, "worker")
	s.Docker(t, "rm", "worker")
	s.requireBaseline(t)

	// Without a container the engine leaves the plugin running, too, but unmounts
	// everything that the plugin has mounted.
	t.Run("StoppedIdle", func(t *testing.T) {
		s.Stop(t)
		s.Again(t)
		if out := runTiny(t, s.Engine, "tiny", "cat", "/etc/marker"); out != "tiny" {
			t.Errorf("the image holds %q", out)
		}
		s.requireBaseline(t)
	})

	delete(s.Config, "live-restore")
	s.Stop(t)
	s.Again(t)
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// requireContainerSurvives ends the engine and starts it again. The processes of the
// container and of the plugin must stay the same, and the container must keep writing.
func (s *testEngine) requireContainerSurvives(t *testing.T, end func(testing.TB), container string, plugin int) {
	t.Helper()
	tick := s.readTick(t)
	end(t)
	pid, err := strconv.Atoi(container)
	must(t, err)
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the container's process without the engine: %v", err)
	}
	s.Again(t)
	if now := s.Docker(t, "inspect", "-f", "{{.State.Pid}}", "worker"); now != container {
		t.Fatalf("the container's process was %s and is %s", container, now)
	}
	if now := s.pluginPID(t); now != plugin {
		t.Errorf("the plugin's process was %d and is %d: the engine stopped it under a container", plugin, now)
	}
	requireIntact(t, s.Engine, "worker")
	waitFor(t, func() error {
		if now := s.readTick(t); now <= tick {
			return fmt.Errorf("the container writes no more: %d, then %d", tick, now)
		}
		return nil
	})
	if out := runTiny(t, s.Engine, "tiny", "cat", "/etc/marker"); out != "tiny" {
		t.Errorf("the image holds %q", out)
	}
}

// readTick returns how far the container has counted.
func (s *testEngine) readTick(t testing.TB) int {
	t.Helper()
	var n int
	waitFor(t, func() error {
		out, err := s.Exec("worker", "cat", "/tick")
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(strings.TrimSpace(out))
		return err
	})
	return n
}
