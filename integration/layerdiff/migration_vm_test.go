//go:build vm

package layerdiff

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/daemon/graphdriver"
	_ "github.com/docker/docker/daemon/graphdriver/zfs" // a peer
	"github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/migrate"
)

var migrations = flag.Uint64("migrations", 8, "how many generated stacks are migrated from each driver")

// TestMigrationFromVFS migrates generated stacks, all as images of one data-root.
func TestMigrationFromVFS(t *testing.T) {
	checkMigration(t, "vfs", migrate.Job{Layers: "vfs"})
}

// TestMigrationFromZFS does the same for moby's zfs driver.
func TestMigrationFromZFS(t *testing.T) {
	const dataset = "tank/layerdiff-moby"
	zfs(t, "create", "-o", "mountpoint=legacy", dataset)
	t.Cleanup(func() { zfs(t, "destroy", "-R", dataset) })
	checkMigration(t, "zfs", migrate.Job{Layers: "zfs", ZFSDataset: dataset}, "zfs.fsname="+dataset)
}

func zfs(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		t.Errorf("zfs %q: %v: %s", args, err, out)
	}
}

func checkMigration(t *testing.T, name string, job migrate.Job, options ...string) {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	root := filepath.Join(dir, "docker")
	check(t, os.MkdirAll(filepath.Join(root, "containers"), 0o755))
	driver, err := graphdriver.GetDriver(name, nil, graphdriver.Options{Root: root, DriverOptions: options})
	check(t, err)
	t.Cleanup(func() { check(t, driver.Cleanup()) })
	d := &DataRoot{Dir: root, Name: name, Driver: Graph{driver}, chains: map[digest.Digest]bool{}}
	at, taken := *seed, uint64(0)
	for ; taken < *migrations; at++ {
		s := Generate(at)
		if findTraits(s).mobyHangs {
			continue
		}
		ok, err := d.Add(ctx, at, s)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", at, err, s)
		}
		if ok {
			taken++
		}
	}
	store := NewLayerDirs(filepath.Join(dir, "store"))
	job.Method, job.From, job.To, job.Dataset = migrate.Copy, name, "overlayzfs", "tank/layers"
	plan := migrate.Plan{Root: root, Job: job}
	notes := 0
	check(t, plan.Run(ctx, store.Tools(func(string) { notes++ })))
	found, proven, err := d.Check(ctx, store, job.To)
	check(t, err)
	fmt.Printf("%s: %d stacks of the seeds %d to %d, %d layers, %d tars as recorded, %d notes\n", name, taken, *seed, at-1, len(d.layers), proven, notes)
	for _, line := range found {
		t.Error(line)
	}
}
