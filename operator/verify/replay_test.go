package verify

import (
	"archive/tar"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// TestLongPathsThroughSymlinks: symlinks make each path as long as they like, and the work has an
// end.
func TestLongPathsThroughSymlinks(t *testing.T) {
	e := newEntries()
	add := func(h *tar.Header) {
		if err := e.add(dockerstore.TarEntry{Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("d/../", 800)
	name := func(i int) string { return strings.Repeat("s", i+1) }
	for i := range maxLinks - 1 {
		add(&tar.Header{Name: name(i), Typeflag: tar.TypeSymlink, Linkname: long + name(i+1)})
	}
	for i := range 40_000 {
		add(&tar.Header{Name: name(0) + "/" + strconv.Itoa(i), Typeflag: tar.TypeReg})
	}
	if r := e.replay(); r.steps > maxSteps+len(e.all) || r.replaced == "" {
		t.Errorf("%d steps, %q", r.steps, r.replaced)
	}
}

// TestReplay: a symlink of the tar that nothing else depends on leaves no doubt.
func TestReplay(t *testing.T) {
	dir := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir} }
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	for what, tt := range map[string]struct {
		entries           []*tar.Header
		replaced, deletes string
	}{
		"merged directories":       {[]*tar.Header{dir("usr/bin"), link("bin", "usr/bin"), file("bin/a"), file("usr/bin/b"), dir("bin/d"), dir("usr/bin/d")}, "", ""},
		"one file twice":           {[]*tar.Header{dir("usr/bin"), link("bin", "usr/bin"), file("usr/bin/a"), file("bin/a")}, "bin/a", ""},
		"out of the root":          {[]*tar.Header{file("a"), link("l", "../../.."), file("l/a")}, "l/a", ""},
		"a circle":                 {[]*tar.Header{link("a", "b"), link("b", "a"), file("a/c")}, "a/c", ""},
		"a file in a path":         {[]*tar.Header{link("l", "d"), file("l/f"), file("d/f/g")}, "d/f/g", ""},
		"a mark without effect":    {[]*tar.Header{file(".wh.a"), file("a")}, "", ""},
		"a mark":                   {[]*tar.Header{file("a"), file(".wh.a")}, "", ".wh.a"},
		"a mark through a symlink": {[]*tar.Header{file("d/a"), link("l", "d"), file("l/.wh.a")}, "", "l/.wh.a"},
		"an opaque marker":         {[]*tar.Header{file("d/a"), link("l", "d"), file("l/.wh..wh..opq")}, "", "l/.wh..wh..opq"},
		"of the root":              {[]*tar.Header{file("a"), file(".wh..wh..opq")}, "", ".wh..wh..opq"},
		"of an empty directory":    {[]*tar.Header{dir("d"), file("d/.wh..wh..opq"), file("d/a")}, "", ""},
	} {
		e := newEntries()
		for _, h := range tt.entries {
			if err := e.add(dockerstore.TarEntry{Header: h}); err != nil {
				t.Fatal(err)
			}
		}
		if r := e.replay(); r.replaced != tt.replaced || r.deletes != tt.deletes {
			t.Errorf("%s: %q, %q", what, r.replaced, r.deletes)
		}
	}
}

// TestALinkInItsTargetsPlace: in a first layer the target may be a whiteout, of which nothing is
// left.
func TestALinkInItsTargetsPlace(t *testing.T) {
	e := newEntries()
	for _, h := range []*tar.Header{{Name: "b/g", Typeflag: tar.TypeChar}, {Name: "b", Typeflag: tar.TypeLink, Linkname: "b/g"}} {
		if err := e.add(dockerstore.TarEntry{Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	if e.replaced != "b" {
		t.Errorf("%q", e.replaced)
	}
}
