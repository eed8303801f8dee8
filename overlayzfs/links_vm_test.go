//go:build vm

package overlayzfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// storeOfThree makes an image of two layers and a container with a file in each.
func storeOfThree(t *testing.T, o Options) *Driver {
	t.Helper()
	d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), o)
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "of base"))
	create(t, d, "image", "base")
	apply(t, d, "image", "base", archive(t, "of image"))
	must(t, d.Create(t.Context(), "container", "image", CreateOptions{ReadWrite: true}))
	change(t, d, "container", func(dir string) { write(t, dir+"/of container", "x") })
	return d
}

func requireThreeFiles(t *testing.T, d *Driver) {
	t.Helper()
	change(t, d, "container", func(dir string) {
		if got := list(t, dir); len(got) != 3 {
			t.Errorf("the container shows %q", got)
		}
	})
}

func loseLinks(t *testing.T, d *Driver) {
	t.Helper()
	links, err := d.home.readShortLinks()
	must(t, err)
	for short := range links {
		must(t, os.Remove(d.home.path(linkDir, short)))
	}
}

// TestLostLinksAreMadeAgain: a start makes them, and a call that misses one in a store that
// is open.
func TestLostLinksAreMadeAgain(t *testing.T) {
	d := storeOfThree(t, testOptions)
	limited := CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "50M"}}
	must(t, d.Create(t.Context(), "limited", "image", limited))
	if same, err := d.home.hasLinkForEachDir(); err != nil || !same {
		t.Errorf("a whole store lacks links: %v", err)
	}
	loseLinks(t, d)
	if same, err := d.home.hasLinkForEachDir(); err != nil || same {
		t.Errorf("a store without links lacks none: %v", err)
	}
	d = crash(t, d)
	if links := list(t, d.home.path(linkDir)); len(links) != 4 {
		t.Errorf("after a start %d links", len(links))
	}
	requireThreeFiles(t, d)
	change(t, d, "limited", func(dir string) { write(t, dir+"/file", "x") })

	loseLinks(t, d)
	requireThreeFiles(t, d)
	loseLinks(t, d)
	create(t, d, "step", "image")
	change(t, d, "step", func(string) {})
	for _, id := range []string{"step", "limited"} {
		remove(t, d, id)
	}
	if links, err := d.home.readShortLinks(); err != nil || len(links) != 3 {
		t.Errorf("links %v, %v", links, err)
	}
}

// TestALinkThatIsLostBesideOneTooMany has as many links as layers.
func TestALinkThatIsLostBesideOneTooMany(t *testing.T) {
	d := storeOfThree(t, testOptions)
	short, err := readShortName(d.home.layer("base").dir())
	must(t, err)
	must(t, os.Remove(d.home.path(linkDir, short)))
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, shortA)))
	must(t, os.Truncate(d.home.path("image", linkName), 0))
	d = crash(t, d)
	requireThreeFiles(t, d)
	create(t, d, "child", "image")
	change(t, d, "child", func(dir string) {
		if got := list(t, dir); len(got) != 2 {
			t.Errorf("the child shows %q", got)
		}
	})
	// A link that leads to no layer is in the way of the right one.
	must(t, os.Remove(d.home.path(linkDir, short)))
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, short)))
	requireThreeFiles(t, d)
}

// TestAMounterElsewhereGetsLostLinks is about layers that others mount.
func TestAMounterElsewhereGetsLostLinks(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	mine(t, d, "1", "", nil)
	mine(t, d, "2", "1", nil)
	mine(t, d, "3", "2", nil)
	for _, mount := range []func() error{
		func() error { return second(d.WritableMount(t.Context(), "3")) },
		func() error { return second(d.ViewMount(t.Context(), "2")) },
	} {
		loseLinks(t, d)
		must(t, mount())
	}
}

// TestNothingOfOverlay2sIsRemoved opens a store of overlay2's that power cuts and people have
// left traces in: empty and missing names, an init layer without its container, a link to
// nowhere. Layers work that worked with overlay2.
func TestNothingOfOverlay2sIsRemoved(t *testing.T) {
	o := testOptions
	o.IsStray = func(id string, _ func(string) bool) bool { return id == "stray" }
	o.MayBeTorn = func(string, func(string) bool) bool { return true }
	d := storeOfThree(t, o)
	for _, id := range []string{"stray", "nameless", "empty"} {
		must(t, d.Create(t.Context(), id, "image", CreateOptions{ReadWrite: true}))
	}
	short, err := readShortName(d.home.layer("nameless").dir())
	must(t, err)
	must(t, os.Remove(d.home.path(linkDir, short)))
	for _, id := range []string{"container", "nameless", "empty"} {
		must(t, os.Truncate(d.home.path(id, linkName), 0))
	}
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, shortA)))
	must(t, os.RemoveAll(d.home.privatePath()))
	d = crashTo(t, d, o)
	for _, id := range []string{"base", "image", "container", "stray", "nameless", "empty"} {
		if !exists(t, d, id) {
			t.Errorf("%s is gone", id)
		}
	}
	if _, err := os.Lstat(d.home.path(linkDir, shortA)); err != nil {
		t.Errorf("the link to nowhere: %v", err)
	}
	requireThreeFiles(t, d)
	change(t, d, "nameless", func(dir string) { write(t, dir+"/file", "x") })
	nextBoot(t, d)
	d = crashTo(t, d, o)
	for _, id := range []string{"container", "nameless", "empty"} {
		if !exists(t, d, id) {
			t.Errorf("%s is gone after a boot", id)
		}
	}
	if exists(t, d, "stray") {
		t.Error("from then on a stray layer goes")
	}
}

// TestEntriesThatAreNotOurs: what people put beside layers and links stays, and is in nobody's
// way.
func TestEntriesThatAreNotOurs(t *testing.T) {
	o := testOptions
	o.IsStray = func(id string, _ func(string) bool) bool { return id == "2024" }
	o.MayBeTorn = func(string, func(string) bool) bool { return true }
	d := storeOfThree(t, o)
	theirs := []string{"2024/report", "README", "lost+found/x", linkDir + "/notes", linkDir + "/old/x", linkDir + "/" + shortB}
	for _, name := range theirs {
		write(t, d.home.path(name), "x")
	}
	nextBoot(t, d)
	d = crashTo(t, d, o)
	requireThreeFiles(t, d)
	if err := d.Remove(t.Context(), "2024"); !errors.Is(err, fault.Invalid) {
		t.Errorf("Remove of a directory that is no layer: %v", err)
	}
	for _, name := range theirs {
		if _, err := os.Stat(d.home.path(name)); err != nil {
			t.Error(err)
		}
	}
	v, err := OpenHomeReadOnly(string(d.home))
	must(t, err)
	layers := layersOf(t, v)
	if len(layers) != 3 || layers["container"].Depth != 2 || layers["container"].Damaged != nil {
		t.Errorf("%+v", layers)
	}
	loseLinks(t, d)
	if layers := layersOf(t, v); layers["container"].Parent != "image" || layers["container"].Damaged != nil {
		t.Errorf("without links: %+v", layers)
	}
}
