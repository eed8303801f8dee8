//go:build vm

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// settleLimit is how long something that has to happen may take to, under
// emulation. Nothing is asserted about how soon it does.
const settleLimit = time.Minute

// settle waits until check passes.
func settle(t testing.TB, check func() error) {
	t.Helper()
	if err := settled(check); err != nil {
		t.Fatalf("after %v still: %v", settleLimit, err)
	}
}

func settled(check func() error) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(settleLimit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-limit:
			return err
		case <-poll.C:
		}
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program of the guest.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// dataRoot is a data-root on ext4. It must be free of mounts when the test
// ends: only what is left of the engine itself is removed.
func dataRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "data-root-")
	noError(t, err)
	t.Cleanup(func() {
		if left := mountsBelow(t, dir, ""); len(left) > 0 {
			t.Errorf("mounts are left in the data-root, which is not removed: %q", left)
			return
		}
		unmountAll(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// unmountAll unmounts what is on exactly dir. Where the host's mounts are not
// shared, dockerd binds its data-root to itself, and one that was killed, or
// that stopped under live-restore, leaves that behind.
func unmountAll(t testing.TB, dir string) {
	t.Helper()
	for _, m := range mountTable(t, "self") {
		if m.place == dir {
			command(t, "umount", dir)
		}
	}
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
	noError(t, err)
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
	err := settled(func() error {
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
	if err := settled(func() error { return differ(mountsBelow(t, root, dataset), nil) }); err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
	for _, name := range []string{"dockerd", "containerd", "containerd-shim-runc-v2", "overlayzfs-plugin"} {
		err := settled(func() error {
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

func differ(got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("there are %q, want %q", got, want)
}

// pluginPID is the plugin's one process.
func (s *site) pluginPID(t testing.TB) int {
	t.Helper()
	pid, err := findPlugin(0)
	noError(t, err)
	return pid
}

// findPlugin waits until the plugin runs as one process that is not old.
func findPlugin(old int) (pid int, err error) {
	err = settled(func() error {
		pids := pidsOf("overlayzfs-plugin")
		if len(pids) != 1 || pids[0] == old {
			return fmt.Errorf("the plugin's processes are %d, before %d", pids, old)
		}
		pid = pids[0]
		return nil
	})
	return pid, err
}

// pidsOf lists the processes of a program, by the name they were started with.
func pidsOf(program string) []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
	var pids []int
	for _, path := range lines {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		arg0, _, _ := strings.Cut(string(raw), "\x00")
		if filepath.Base(arg0) != program {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mountsBelow lists the host's mounts below root, and those of the dataset
// wherever they are, as "place type".
func mountsBelow(t testing.TB, root, dataset string) []string {
	t.Helper()
	var found []string
	for _, m := range mountTable(t, "self") {
		if strings.HasPrefix(m.place, root+"/") || dataset != "" && m.source == dataset {
			found = append(found, m.place+" "+m.fstype)
		}
	}
	slices.Sort(found)
	return found
}

// overlaysOf lists the overlays in the mount name space of a process.
func overlaysOf(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, m := range parseMounts(string(raw)) {
		if m.fstype == "overlay" && m.place != "/" {
			found = append(found, m.place)
		}
	}
	return found
}

type mounted struct{ place, fstype, source string }

func mountTable(t testing.TB, process string) []mounted {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + process + "/mountinfo")
	noError(t, err)
	return parseMounts(string(raw))
}

func parseMounts(table string) []mounted {
	var mounts []mounted
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(line, " - ")
		place, what := strings.Fields(before), strings.Fields(after)
		mounts = append(mounts, mounted{place[4], what[0], what[1]})
	}
	return mounts
}

func datasetsBelow(t testing.TB, dataset string) []string {
	t.Helper()
	return strings.Fields(command(t, "zfs", "list", "-H", "-o", "name", "-t", "all", "-r", dataset))
}

func loopDevices(t testing.TB) []string {
	t.Helper()
	used, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	noError(t, err)
	return used
}

// layersIn lists the store's layers. Each must have its short link, and each
// short link its layer.
func layersIn(home string) ([]string, error) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, entry := range entries {
		if name := entry.Name(); name != "l" && name != ".overlayzfs" {
			layers = append(layers, name)
		}
	}
	links, err := os.ReadDir(filepath.Join(home, "l"))
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if _, err := os.Stat(filepath.Join(home, "l", link.Name())); err != nil {
			return nil, err
		}
	}
	if len(links) != len(layers) {
		return nil, fmt.Errorf("%d short links for %d layers", len(links), len(layers))
	}
	return layers, nil
}

// unfinished fails when something half-made lies in the store.
func unfinished(home string) error {
	if err := awaitReaper(home); err != nil {
		return err
	}
	var left []string
	for _, place := range []string{"new", "apply", "building"} {
		entries, err := os.ReadDir(filepath.Join(home, ".overlayzfs", place))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			left = append(left, place+"/"+entry.Name())
		}
	}
	return differ(left, nil)
}

// applied lists the files of diffs that are being unpacked right now, and what
// has come of the bulk image, wherever a driver may put it.
func applied(home string) []string {
	var all []string
	for _, pattern := range []string{".overlayzfs/apply/*/*", "*/diff/bulk-*"} {
		found, _ := filepath.Glob(filepath.Join(home, pattern)) // the pattern is well formed
		all = append(all, found...)
	}
	return all
}

// manifest describes every file of a dataset, seen by a mount of its own.
func manifest(t testing.TB, dataset string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "manifest-")
	noError(t, err)
	command(t, "mount", "-t", "zfs", dataset, dir)
	defer func() {
		command(t, "umount", dir)
		noError(t, os.Remove(dir))
	}()
	var lines []string
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir)
		if strings.HasPrefix(name, "/.overlayzfs/new/") {
			return fs.SkipDir // where a plugin that starts tries what the dataset can do; unfinished looks there
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size, changed := info.Size(), info.ModTime().UnixNano()
		if info.IsDir() {
			size = 0
			if name == "" || strings.HasPrefix(name, "/.overlayzfs/") {
				changed = 0 // a plugin that starts tries there what the dataset can do
			}
		}
		lines = append(lines, fmt.Sprintf("%s %v %d %d", name, info.Mode(), size, changed))
		return nil
	})
	noError(t, err)
	return lines
}

// unchanged compares the dataset with an earlier manifest.
func unchanged(t testing.TB, dataset string, before []string) {
	t.Helper()
	now := manifest(t, dataset)
	for _, line := range before {
		if !slices.Contains(now, line) {
			t.Errorf("%s: gone or changed: %s", dataset, line)
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			t.Errorf("%s: new or changed: %s", dataset, line)
		}
	}
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
