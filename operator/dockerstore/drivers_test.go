package dockerstore

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDrivers finds the records of plugins, which have names with slashes, and
// passes over nothing.
func TestDrivers(t *testing.T) {
	s := newTestRoot(t)
	drivers := func() ([]string, error) {
		r, err := Open(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		return r.Drivers()
	}
	if got, err := drivers(); len(got) > 0 || err != nil {
		t.Fatalf("of no engine: %q, %v", got, err)
	}
	s.layer("", "base", "a")
	s.image("x:latest", "base")
	want := []string{"example.org:5000/zfs/overlayzfs:latest", "overlay2", "overlayzfs", "overlayzfs/other:1"}
	for _, name := range []string{want[0] + "/layerdb/x", want[0] + "/distribution/x", want[1] + "/imagedb/x", want[3] + "/imagedb/x", want[2] + "/.tmp-repositories.json17"} {
		s.write("image/"+name, "")
	}
	if got, err := drivers(); !cmp.Equal(got, want) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	deep := "image" + strings.Repeat("/x", maxNameParts+1) + "/layerdb/x"
	for name, spoil := range map[string]func(){
		"image/file":               func() { s.write("image/file", "") },
		"image/linked":             func() { s.write("image/linked", ""); s.link("overlayzfs", "image/linked") },
		"image/overlayzfs/strange": func() { s.write("image/overlayzfs/strange", "") },
		"image/x/x":                func() { s.write(deep, "") },
	} {
		spoil()
		if got, err := drivers(); err == nil || !strings.Contains(err.Error(), name) || !cmp.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		s.remove(name)
	}
	r, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if records, err := r.Read(want[0]); err != nil || records.Driver != want[0] {
		t.Errorf("%+v, %v", records, err)
	}
}
