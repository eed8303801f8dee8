//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestAnEndingMountIsInNobodysWay holds the file system of an unmounted container, as a slow sync
// does. The container is removed meanwhile, and its dataset goes when the file system ends.
func TestAnEndingMountIsInNobodysWay(t *testing.T) {
	d := limitedStore(t, "ending")
	limited(t, d, "box", "size=50M")
	limited(t, d, "free")
	for _, id := range []string{"box", "free"} {
		merged := get(t, d, id)
		write(t, merged+"/old", "new")
		held, err := mount.Hold(merged)
		must(t, err)
		defer held.Close()
		put(t, d, id)
		if _, err := os.Lstat(merged); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the mount point was left: %v", id, err)
		}
		requireUnmounted(t, d, id)

		again := get(t, d, id)
		if raw, err := os.ReadFile(again + "/old"); err != nil || string(raw) != "new" {
			t.Errorf("%s, mounted beside the file system that ends: %q, %v", id, raw, err)
		}
		put(t, d, id)
		dataset, limited := limitDataset(t, d, id)
		remove(t, d, id)
		if limited {
			if there, err := d.zfs.Exists(dataset); err != nil || !there {
				t.Errorf("the dataset in use: %v, %v", there, err)
			}
			must(t, held.Close())
			waitFor(t, "the dataset goes", func() bool {
				there, err := d.zfs.Exists(dataset)
				return err == nil && !there
			})
		}
		limitedAgain(t, d, id)
		remove(t, d, id)
	}
	requireTidy(t, d, "base")
}

// limitedAgain makes a container of the same name, and uses it.
func limitedAgain(t *testing.T, d *Driver, id string) {
	t.Helper()
	limited(t, d, id, "size=50M")
	change(t, d, id, func(dir string) {
		if raw, err := os.ReadFile(dir + "/old"); err != nil || string(raw) != "old" {
			t.Errorf("%s, made again: %q, %v", id, raw, err)
		}
	})
}

// limitDataset returns the dataset of a limited layer.
func limitDataset(t *testing.T, d *Driver, id string) (name string, limited bool) {
	t.Helper()
	quotaLayer, err := d.home.layer(id).quotaLayer()
	must(t, err)
	r, err := d.limits.Find(quotaLayer.Key)
	must(t, err)
	return d.dataset + "/" + quotaLayer.Key, r != nil
}

func requireUnmounted(t *testing.T, d *Driver, id string) {
	t.Helper()
	mounts, err := mount.ListBelow(d.home.layer(id).dir())
	must(t, err)
	for _, m := range mounts {
		t.Errorf("%s is mounted on %s", m.Source, m.Mountpoint)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

// TestGetWaitsForTheEarlierMount: a layer is not mounted twice, and a caller that hangs up takes
// nothing.
func TestGetWaitsForTheEarlierMount(t *testing.T) {
	d := limitedStore(t, "waiting")
	limited(t, d, "box")
	end := make(slowEnd)
	d.endings.begin("box", end)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := d.Get(gone, "box", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that hung up: %v", err)
	}
	requireUnmounted(t, d, "box")
	mounted := make(chan error)
	go func() { _, err := d.Get(t.Context(), "box", ""); mounted <- err }()
	change(t, d, "base", func(string) {}) // another layer's calls do not wait
	requireUnmounted(t, d, "box")
	close(end)
	must(t, <-mounted)
	put(t, d, "box")
}

// TestAStoreEndsWithItsMounts: after Cleanup and Close nothing uses a dataset of the store.
func TestAStoreEndsWithItsMounts(t *testing.T) {
	o := testOptions
	d := limitedStore(t, "stopping")
	o.Dataset = d.dataset
	limited(t, d, "box", "size=50M")
	limited(t, d, "free")
	for _, id := range []string{"box", "free"} {
		write(t, get(t, d, id)+"/file", id)
	}
	put(t, d, "box")
	box, _ := limitDataset(t, d, "box")
	must(t, errors.Join(d.Cleanup(t.Context()), d.limits.DropSpares(), d.Close()))
	handle, err := zfs.Open()
	must(t, err)
	defer handle.Close()
	left, err := zfs.Collect(handle.Children(d.dataset))
	must(t, err)
	if len(left) != 1 || left[0].Name != box {
		t.Errorf("datasets of a closed store: %v, want %s", left, box)
	}
	must(t, handle.Destroy(box)) // at once: nothing uses it
	d = openStoreIn(t, string(d.home), o)
	if _, err := d.Get(t.Context(), "box", ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("a container without its dataset: %v", err)
	}
	if raw, err := os.ReadFile(get(t, d, "free") + "/file"); err != nil || string(raw) != "free" {
		t.Errorf("%q, %v", raw, err)
	}
	put(t, d, "free")
	remove(t, d, "box")
	remove(t, d, "free")
	requireTidy(t, d, "base")
}
