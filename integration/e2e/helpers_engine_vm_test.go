//go:build vm

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Short names for helpers that every test calls.
var (
	must    = inguest.Must
	run     = inguest.Run
	waitFor = inguest.WaitFor
)

// poll waits until check passes. It returns the last error if check never does.
func poll(check func() error) error { return inguest.Poll(context.Background(), check) }

// makeDataRoot makes a data-root on ext4. Mounts that are left in it at the end fail
// the test; the engine's own are removed.
func makeDataRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "data-root-")
	must(t, err)
	t.Cleanup(func() {
		if left := listMountsBelow(t, dir, ""); len(left) > 0 {
			t.Errorf("mounts are left in the data-root, which is not removed: %q", left)
			return
		}
		inguest.UnmountAt(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startContainerd starts a containerd for an engine that starts often, and returns its socket. A
// containerd of dockerd's own starts with each dockerd, which at its end waits a second for it.
func startContainerd(t testing.TB) string {
	t.Helper()
	return engine.StartPlainContainerd(t, inguest.MakeDiskDir(t)).Address()
}

// testEngine is an engine on the plugin, with the mounts and layers that it has at
// rest.
type testEngine struct {
	*engine.Engine
	dataset string
	mounts  []string
	layers  []string
}

// newTestEngine starts an engine on the plugin, with an image called tiny.
func newTestEngine(t testing.TB, name string, config map[string]any) *testEngine {
	t.Helper()
	s := &testEngine{dataset: "tank/" + name}
	s.Engine = engine.StartOnPlugin(t, engine.Options{Root: makeDataRoot(t), Config: config}, s.dataset)
	importTiny(t, s.Engine, "tiny")
	s.recordBaseline(t)
	return s
}

// recordBaseline records the current mounts and layers, which requireBaseline compares
// with.
func (s *testEngine) recordBaseline(t testing.TB) {
	t.Helper()
	s.mounts = listMountsBelow(t, s.Root, s.dataset)
	layers, err := listLayers(s.storeDir(t))
	must(t, err)
	s.layers = layers
}

// storeDir returns the store's directory on the host.
func (s *testEngine) storeDir(t testing.TB) string {
	t.Helper()
	return storeDirOf(t, s.Engine)
}

// againAfterKill starts the engine after a kill. dockerd ends the plugin that outlived it and
// starts it anew, and cleans up the mounts of the first at the same time. On a busy machine it
// then unmounts the directory of the second, and the host does not see what is mounted there.
// A start after a stop mends that (docs/troubleshooting.md).
func (s *testEngine) againAfterKill(t *testing.T) {
	t.Helper()
	s.Again(t)
	seen := func() error {
		_, err := os.Stat(filepath.Join(s.storeDir(t), ".overlayzfs"))
		return err
	}
	if err := seen(); err != nil {
		t.Logf("the host does not see the plugin's mounts: start once more: %v", err)
		s.Stop(t)
		s.Again(t)
		must(t, seen())
	}
}

func storeDirOf(t testing.TB, e *engine.Engine) string {
	t.Helper()
	return filepath.Join(propagatedMountOf(t, e), engine.PluginName)
}

// propagatedMountOf returns the host's directory that the plugin mounts in.
func propagatedMountOf(t testing.TB, e *engine.Engine) string {
	t.Helper()
	return filepath.Join(e.Root, "plugins", e.PluginID(t), "propagated-mount")
}

// requireBaseline fails the test when its work left something: a container, layer,
// mount, dataset, loop device, process or unfinished layer.
func (s *testEngine) requireBaseline(t testing.TB) {
	t.Helper()
	if left := s.ListContainers(t); len(left) > 0 {
		t.Errorf("containers are left: %q", left)
	}
	home := s.storeDir(t)
	err := poll(func() error {
		layers, err := listLayers(home)
		return errors.Join(
			labelError("mounts of the host", compareLists(listMountsBelow(t, s.Root, s.dataset), s.mounts)),
			labelError("mounts of the plugin", compareLists(listOverlays(s.pluginPID(t)), nil)),
			labelError("layers", errors.Join(err, compareLists(layers, s.layers))),
			labelError("unfinished business", checkNothingUnfinished(home)),
			labelError("datasets", compareLists(inguest.ListDatasets(t, s.dataset), []string{s.dataset})),
			labelError("loop devices", compareLists(listLoopDevices(t), nil)),
			labelError("containers' shims", s.checkOneShim()),
		)
	})
	if err != nil {
		t.Error(err)
	}
}

func labelError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkOneShim returns an error unless the plugin is the only container that runs.
func (s *testEngine) checkOneShim() error {
	if n := len(findProcesses("containerd-shim-runc-v2")); n != 1 {
		return fmt.Errorf("%d shims run", n)
	}
	return nil
}

// requireStopped fails the test when a stopped engine left anything but files.
func (s *testEngine) requireStopped(t testing.TB) {
	t.Helper()
	requireEngineStopped(t, s.Engine, s.dataset)
}

func requireEngineStopped(t testing.TB, e *engine.Engine, dataset string) {
	t.Helper()
	if err := poll(func() error { return compareLists(listMountsBelow(t, e.Root, dataset), nil) }); err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
	programs := []string{"dockerd", "containerd-shim-runc-v2", "overlayzfs-plugin"}
	if e.Containerd == "" { // its own
		programs = append(programs, "containerd")
	}
	for _, name := range programs {
		err := poll(func() error {
			if pids := findProcesses(name); len(pids) > 0 {
				return fmt.Errorf("%s runs as %d", name, pids)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := compareLists(listLoopDevices(t), nil); err != nil {
		t.Errorf("loop devices: %v", err)
	}
}

// pluginPID returns the ID of the plugin's process.
func (s *testEngine) pluginPID(t testing.TB) int {
	t.Helper()
	pid, err := awaitPlugin(0)
	must(t, err)
	return pid
}

// awaitPlugin waits until the plugin runs as one process other than old.
func awaitPlugin(old int) (pid int, err error) {
	err = poll(func() error {
		pids := findProcesses("overlayzfs-plugin")
		if len(pids) != 1 || pids[0] == old {
			return fmt.Errorf("the plugin's processes are %d, before %d", pids, old)
		}
		pid = pids[0]
		return nil
	})
	return pid, err
}

// logSince returns what the engine has logged after the first n bytes.
func logSince(t testing.TB, e *engine.Engine, n int) string {
	t.Helper()
	return e.Log(t)[n:]
}

// findLine returns the first line that contains all of the words, or "".
func findLine(text string, words ...string) string {
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if containsAll(lines.Text(), words) {
			return lines.Text()
		}
	}
	return ""
}

func containsAll(s string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(s, word) {
			return false
		}
	}
	return true
}
