//go:build vm

package inventory

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestDatasetsOfOthersAreNoContainers: below the layers may lie what somebody else made, datasets
// without a container yet, and datasets that only a snapshot keeps.
func TestDatasetsOfOthersAreNoContainers(t *testing.T) {
	const dataset = "tank/measured"
	z, err := zfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	tool := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
			t.Fatalf("zfs %v: %v\n%s", args, err, out)
		}
	}
	// create creates a dataset that holds so many MiB.
	create := func(name string, size int, options ...string) string {
		t.Helper()
		tool(append(append([]string{"create", "-o", "mountpoint=legacy", "-o", "compression=off"}, options...), name)...)
		dir, content := t.TempDir(), make([]byte, size<<20)
		rand.Read(content)
		if err := zfs.MountDataset(name, dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "content"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := mount.Unmount(dir); err != nil {
			t.Fatal(err)
		}
		return name
	}
	create(dataset, 1)
	t.Cleanup(func() { tool("destroy", "-r", dataset) })
	create(dataset+"/theirs", 20)
	create(dataset+"/LAYER000000000000000000001", 5, "-o", quota.LayerProperty+"=a")
	create(dataset+"/LAYER000000000000000000002", 7, "-o", quota.LayerProperty+"="+quota.SpareLayer)
	create(dataset+"/removed", 0)
	kept := create(dataset+"/removed/LAYER000000000000000000003", 3, "-o", quota.LayerProperty+"=b", "-o", quota.RemovedProperty+"=1")
	tool("snapshot", kept+"@theirs")
	if err := z.SyncPool(t.Context(), "tank"); err != nil {
		t.Fatal(err)
	}
	var got Totals
	if err := got.Measure(z, dataset, "tank"); err != nil {
		t.Fatal(err)
	}
	for what, size := range map[string]struct {
		got  uint64
		want uint64 // MiB
	}{
		"layers": {got.Space.Layers, 1}, "limited containers": {got.Space.Limited, 5}, "snapshots": {got.Space.Snapshots, 3}, "all of it": {got.Space.Used, 36},
	} {
		if size.got>>20 != size.want {
			t.Errorf("%s: %d bytes, want %d MiB and little more", what, size.got, size.want)
		}
	}
}
