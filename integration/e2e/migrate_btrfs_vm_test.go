//go:build vm

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// makeBtrfsDataRoot makes a data-root that is a btrfs file system.
func makeBtrfsDataRoot(t testing.TB) string {
	t.Helper()
	run(t, "modprobe", "-a", "loop", "btrfs")
	device := filepath.Join(inguest.MakeDiskDir(t), "btrfs")
	must(t, os.WriteFile(device, nil, 0o600))
	must(t, os.Truncate(device, 2<<30))
	run(t, "mkfs.btrfs", "--quiet", device)
	dir := makeDataRoot(t)
	run(t, "mount", "-t", "btrfs", "-o", "loop", device, dir)
	return dir
}

// listSubvolumes lists the paths of all subvolumes of the file system that is mounted
// on dir.
func listSubvolumes(t testing.TB, dir string) (paths []string) {
	t.Helper()
	for line := range strings.Lines(run(t, "btrfs", "subvolume", "list", dir)) {
		_, path, _ := strings.Cut(strings.TrimSpace(line), " path ")
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// createSubvolumes makes subvolumes in a container's writable layer, as programs in
// containers do, one of them read-only. It also makes a file that btrfs compresses.
func (m *migratedEngine) createSubvolumes(t testing.TB, container string) {
	t.Helper()
	id := m.Docker(t, "inspect", "-f", "{{.Id}}", container)
	layer, err := os.ReadFile(filepath.Join(m.Root, "image/btrfs/layerdb/mounts", id, "mount-id"))
	must(t, err)
	data := filepath.Join(m.Root, "btrfs/subvolumes", string(layer), "data")
	own, fixed := filepath.Join(data, "own"), filepath.Join(data, "fixed")
	run(t, "btrfs", "subvolume", "create", own)
	file := filepath.Join(own, "deep/file")
	must(t, os.Mkdir(filepath.Dir(file), 0o750))
	must(t, os.WriteFile(file, []byte(strings.Repeat("kept\n", 1000)), 0o640))
	run(t, "btrfs", "property", "set", file, "compression", "zstd")
	run(t, "btrfs", "subvolume", "create", filepath.Join(own, "deep/deeper"))
	run(t, "btrfs", "subvolume", "snapshot", "-r", own, fixed)
}
