//go:build vm

package snapshotter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestRemovalsOnAFullDataset fills a dataset to its last block.
func TestRemovalsOnAFullDataset(t *testing.T) {
	const dataset = "tank/full"
	zfs(t, "create", "-o", "mountpoint=legacy", "-o", "quota=64M", dataset)
	t.Cleanup(func() { zfs(t, "destroy", "-r", dataset) })
	home := filepath.Join(t.TempDir(), "home")
	t.Cleanup(func() {
		if err := mount.UnmountAll(home, 0); err != nil {
			t.Error(err)
		}
	})
	s := openStore(t, Options{Home: home, Store: overlayzfs.Options{Dataset: dataset}})
	commitLayer(t, s, "base", "", func(dir string) {
		if err := fill(filepath.Join(dir, "some"), 16<<20); err != nil {
			t.Fatal(err)
		}
	})
	dir := mounted(t, prepare(t, s, "writer", "base", nil))
	fillUp(t, dir)
	unmount(t, dir)
	if _, err := s.Prepare(t.Context(), "another", "base"); !errdefs.IsResourceExhausted(err) {
		t.Errorf("prepare on a full dataset: %v", err)
	}
	for _, key := range []string{"writer", "base"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Errorf("remove %s: %v", key, err)
		}
	}
	if err := core(t, s).WaitTxg(t.Context()); err != nil {
		t.Fatal(err)
	}
	image(t, s, "again")
	requireRealAgreement(t, s)
}

// fillUp writes files, ever smaller, until nothing fits.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	for size := int64(8 << 20); size >= 4096; size /= 2 {
		for i := range 100 {
			err := fill(filepath.Join(dir, fmt.Sprint(size, ".", i)), size)
			if errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "last"), make([]byte, 100), 0o600); err == nil {
		t.Log("there was room for one more")
	}
}

func zfs(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		t.Errorf("zfs %v: %v\n%s", args, err, out)
	}
}
