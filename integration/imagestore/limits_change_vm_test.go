//go:build vm

package imagestore

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
)

// limit runs the operator's command on a container, which may be named as people name it.
func (s *testEngine) limit(t testing.TB, code int, container string, flags ...string) string {
	t.Helper()
	out, got := s.containerd.Operator(t, s.Root, append([]string{"limit", container}, flags...)...)
	if got != code {
		t.Fatalf("limit %s %q exits with %d, want %d: %s", container, flags, got, code, out)
	}
	return out
}

// sum returns the sum of a container's file.
func (s *testEngine) sum(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s.MustExec(t, "box", "cat", "/kept"))))
}

// TestLimitsChangeUnderLoad gives a container its first limit, raises and lowers it while the
// container writes, kills the snapshotter below it, and takes the limit away.
func TestLimitsChangeUnderLoad(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.MustExec(t, "box", "dd", "if=/dev/urandom", "of=/kept", "bs=1M", "count=8")
	sum := s.sum(t)
	w := engine.StartWriter(t, s.Engine, "box", "/log")
	if out := s.limit(t, 3, "box", "--size", "64M"); !strings.Contains(out, "stop the container") {
		t.Errorf("a first limit for a container that runs: %s", out)
	}
	w.AwaitMore(t)
	before := w.CountLines(t)
	s.StopContainers(t, "box")
	s.limit(t, 0, "box", "--size", "64M")
	s.StartContainers(t, "box")
	if now := w.CountLines(t); now < before {
		t.Errorf("%d lines are left of %d", now, before)
	}
	w = engine.StartWriter(t, s.Engine, "box", "/second")
	id := s.Docker(t, "inspect", "-f", "{{.Id}}", "box")
	for name, size := range map[string]string{"box": "48M", "moby/box": "96M", id[:12]: "40M", id: "32M"} {
		s.limit(t, 0, name, "--size", size, "--inodes", "100000")
		w.AwaitMore(t)
	}
	s.limit(t, 0, "box", "--size", "24M")
	if out := s.limit(t, 1, "odds", "--size", "64M"); !strings.Contains(out, "no container") {
		t.Errorf("an image: %s", out)
	}
	if out := s.limit(t, 0, "box", "--size", "64M", "--dry-run"); !strings.Contains(out, "Would set box") {
		t.Errorf("a dry run: %s", out)
	}
	if out := s.limit(t, 3, "box", "--size", "4M"); !strings.Contains(out, "delete files in the container first") {
		t.Errorf("a limit below what the container holds: %s", out)
	}
	s.containerd.Snapshotter.Kill(t)
	w.AwaitMore(t)
	s.containerd.Snapshotter.Again(t)
	out, err := s.Exec("box", "dd", "if=/dev/urandom", "of=/too-much", "bs=1M", "count=40")
	if err == nil || !strings.Contains(out, "Disk quota exceeded") {
		t.Errorf("40 MB in a container limited to 24M: %q, %v", out, err)
	}
	s.limit(t, 0, "box", "--none")
	s.MustExec(t, "box", "dd", "if=/dev/urandom", "of=/too-much", "bs=1M", "count=40")
	// The writer may have met the limit.
	w.CountLines(t)
	if got := s.sum(t); got != sum {
		t.Errorf("the sum is %s, before %s", got, sum)
	}
	s.Docker(t, "restart", "-t", "0", "box")
	if got := s.sum(t); got != sum {
		t.Errorf("after a restart the sum is %s, before %s", got, sum)
	}
	s.RemoveContainers(t, "box")
	waitFor(t, func() error { return engine.CheckNoLimitDatasets(t, s.dataset) })
}
