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

// The tests call these all the time.
var (
	must    = inguest.Must
	run     = inguest.Run
	waitFor = inguest.WaitFor
)

// poll waits until check passes, and returns its last error if it never does.
func poll(check func() error) error { return inguest.Poll(context.Background(), check) }

// dataRoot is a data-root on ext4. It must be free of mounts when the test
// ends: only what is left of the engine itself is removed.
func dataRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "data-root-")
	must(t, err)
	t.Cleanup(func() {
		if left := mountsBelow(t, dir, ""); len(left) > 0 {
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

// site is an engine on the plugin, and what it looked like at rest.
type site struct {
	*engine.Engine
	dataset string
	mounts  []string
	layers  []string
}

// newSite starts an engine on the plugin with an image called tiny.
func newSite(t testing.TB, name string, config map[string]any) *site {
	t.Helper()
	s := &site{dataset: "tank/" + name}
	s.Engine = engine.StartOnPlugin(t, engine.Options{Root: dataRoot(t), Config: config}, s.dataset)
	importTiny(t, s.Engine, "tiny")
	s.rest(t)
	return s
}

// rest takes the present for what atRest compares with.
func (s *site) rest(t testing.TB) {
	t.Helper()
	s.mounts = mountsBelow(t, s.Root, s.dataset)
	layers, err := layersIn(s.home(t))
	must(t, err)
	s.layers = layers
}

// home is the store as the host sees it.
func (s *site) home(t testing.TB) string {
	t.Helper()
	return homeOf(t, s.Engine)
}

func homeOf(t testing.TB, e *engine.Engine) string {
	t.Helper()
	return filepath.Join(propagatedMount(t, e), engine.PluginName)
}

// propagatedMount is the directory of the host that the plugin mounts in.
func propagatedMount(t testing.TB, e *engine.Engine) string {
	t.Helper()
	return filepath.Join(e.Root, "plugins", e.Docker(t, "plugin", "inspect", "-f", "{{.Id}}", engine.PluginName), "propagated-mount")
}

// atRest checks that nothing is left of what a test did: no container, layer,
// mount, dataset, loop device, process or half-made thing.
func (s *site) atRest(t testing.TB) {
	t.Helper()
	if out := s.Docker(t, "ps", "-aq"); out != "" {
		t.Errorf("containers are left: %s", out)
	}
	home := s.home(t)
	err := poll(func() error {
		layers, err := layersIn(home)
		return errors.Join(
			wrong("mounts of the host", differ(mountsBelow(t, s.Root, s.dataset), s.mounts)),
			wrong("mounts of the plugin", differ(overlaysOf(s.pluginPID(t)), nil)),
			wrong("layers", errors.Join(err, differ(layers, s.layers))),
			wrong("unfinished business", unfinished(home)),
			wrong("datasets", differ(datasetsBelow(t, s.dataset), []string{s.dataset})),
			wrong("loop devices", differ(loopDevices(t), nil)),
			wrong("containers' shims", s.oneShim()),
		)
	})
	if err != nil {
		t.Error(err)
	}
}

func wrong(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// oneShim checks that of all containers only the plugin's runs.
func (s *site) oneShim() error {
	if n := len(pidsOf("containerd-shim-runc-v2")); n != 1 {
		return fmt.Errorf("%d shims run", n)
	}
	return nil
}

// tornDown checks that a stopped engine left nothing but files.
func (s *site) tornDown(t testing.TB) {
	t.Helper()
	engineIsGone(t, s.Root, s.dataset)
}

func engineIsGone(t testing.TB, root, dataset string) {
	t.Helper()
	if err := poll(func() error { return differ(mountsBelow(t, root, dataset), nil) }); err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
	for _, name := range []string{"dockerd", "containerd", "containerd-shim-runc-v2", "overlayzfs-plugin"} {
		err := poll(func() error {
			if pids := pidsOf(name); len(pids) > 0 {
				return fmt.Errorf("%s runs as %d", name, pids)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := differ(loopDevices(t), nil); err != nil {
		t.Errorf("loop devices: %v", err)
	}
}

// pluginPID is the plugin's one process.
func (s *site) pluginPID(t testing.TB) int {
	t.Helper()
	pid, err := findPlugin(0)
	must(t, err)
	return pid
}

// findPlugin waits until the plugin runs as one process that is not old.
func findPlugin(old int) (pid int, err error) {
	err = poll(func() error {
		pids := pidsOf("overlayzfs-plugin")
		if len(pids) != 1 || pids[0] == old {
			return fmt.Errorf("the plugin's processes are %d, before %d", pids, old)
		}
		pid = pids[0]
		return nil
	})
	return pid, err
}

// logSince returns what the engine logged after the first n bytes.
func logSince(t testing.TB, e *engine.Engine, n int) string {
	t.Helper()
	return e.Log(t)[n:]
}

// lineWith returns the first line that contains all the words.
func lineWith(text string, words ...string) string {
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
