//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// viewed opens a view of a dataset, which no other process sees mounted.
func viewed(t *testing.T, dataset string, mounts int) *StoreView {
	t.Helper()
	v, err := OpenDatasetReadOnly(dataset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() }) // it may be closed
	of, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Source != dataset, false })
	if err != nil || len(of) != mounts {
		t.Errorf("%d mounts of the dataset are seen, want %d: %v", len(of), mounts, err)
	}
	return v
}

func layersOf(t *testing.T, v *StoreView) map[string]LayerInfo {
	t.Helper()
	all, err := v.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layers := map[string]LayerInfo{}
	for _, seen := range all {
		layers[seen.ID] = seen
	}
	return layers
}

// TestViewBesideAnOpenStore views a store that a driver works with.
func TestViewBesideAnOpenStore(t *testing.T) {
	name := dataset(t, "viewed")
	o := testOptions
	o.Dataset = name
	d := openStoreIn(t, plainDir(t), o)
	create(t, d, "base", "")
	dir := get(t, d, "base")
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, d, "base")
	if err := d.Create(context.Background(), "limited", "base", CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "32M"}}); err != nil {
		t.Fatal(err)
	}
	create(t, d, "building", "base")

	v := viewed(t, name, 1)
	layers := layersOf(t, v)
	if len(layers) != 3 || layers["base"].Depth != 0 || layers["limited"].Parent != "base" || layers["limited"].Depth != 1 || !slices.Equal(layers["limited"].Lowers, []string{"base"}) {
		t.Errorf("%+v", layers)
	}
	if l := layers["limited"].Limit; l == nil || l.Bytes != 32<<20 || layers["base"].Limit != nil {
		t.Errorf("the limit is %+v", l)
	}
	if layers["building"].State != Building || layers["limited"].State != Ready {
		t.Errorf("%+v", layers)
	}
	usage, err := v.Usage(t.Context(), "base")
	if err != nil || usage.Apparent != 5000 || usage.Inodes != 2 {
		t.Errorf("%+v, %v", usage, err)
	}
	content, err := v.OpenContent("base")
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if _, err := os.Stat(content.Name() + "/file"); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(v.home.path("x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a view can be written through: %v", err)
	}
	if err := v.RequireUnused(); !errors.Is(err, fault.Busy) {
		t.Errorf("a store that is open is not used: %v", err)
	}
	// The driver goes on, and the view sees its changes.
	remove(t, d, "building")
	if _, there := layersOf(t, v)["building"]; there {
		t.Error("a removed layer is seen")
	}
}

// TestViewOfAStoreThatNobodyHasOpen makes sure that a driver can open a store beside a view.
func TestViewOfAStoreThatNobodyHasOpen(t *testing.T) {
	name := dataset(t, "viewed")
	if _, err := OpenDatasetReadOnly(name); !errors.Is(err, fault.NotFound) {
		t.Errorf("a dataset without a store: %v", err)
	}
	if _, err := OpenDatasetReadOnly(name + "/none"); !errors.Is(err, fault.NotFound) {
		t.Errorf("no dataset: %v", err)
	}
	o := testOptions
	o.Dataset = name
	home := plainDir(t)
	d := openStoreIn(t, home, o)
	create(t, d, "base", "")
	create(t, d, "top", "base")
	if err := os.WriteFile(d.home.path("base", linkName), []byte("../../etc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	v := viewed(t, name, 0)
	if layers := layersOf(t, v); layers["base"].Damaged == nil || layers["top"].Damaged != nil {
		t.Errorf("%+v", layers)
	}
	if err := v.RequireUnused(); err != nil {
		t.Fatal(err)
	}
	openStoreIn(t, home, o) // nobody is in the way of whoever comes now
}
