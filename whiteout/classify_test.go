package whiteout

import (
	"path"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestClassify(t *testing.T) {
	long := strings.Repeat("x", 255)
	tests := []struct {
		name   string
		kind   Kind
		target string
	}{
		{"a", None, "a"},
		{"a/b.wh.c", None, "a/b.wh.c"},
		{".whx", None, ".whx"},
		{".wh", None, ".wh"},
		{".wh.a", Whiteout, "a"},
		{"a/.wh.b", Whiteout, "a/b"},
		{"a/.wh. ", Whiteout, "a/ "},
		{"a/.wh....", Whiteout, "a/..."},
		{".wh..hidden", Whiteout, ".hidden"},
		{".wh..wh", Whiteout, ".wh"},
		{".wh." + long, Whiteout, long},
		{".wh..wh..opq", Opaque, "."},
		{"a/b/.wh..wh..opq", Opaque, "a/b"},
		{".wh..wh.plnk", Metadata, ".wh..wh.plnk"},
		{".wh..wh.aufs", Metadata, ".wh..wh.aufs"},
		{".wh..wh.", Metadata, ".wh..wh."},
		{".wh..wh.plnk/1.2", Metadata, ".wh..wh.plnk/1.2"},
		{".wh..wh.plnk/.wh.x", Metadata, ".wh..wh.plnk/.wh.x"},
		{"a/.wh..wh.aufs/x", Metadata, "a/.wh..wh.aufs/x"},
		{".wh..wh..opq/a", Metadata, ".wh..wh..opq/a"},
		{".wh.a/b", None, ".wh.a/b"},
		{"a/.wh.b/c", None, "a/.wh.b/c"},
		{".wh.a/.wh.b", Whiteout, ".wh.a/b"},
		{"a/.wh./.wh..wh..opq", Opaque, "a/.wh."},
	}
	for _, tt := range tests {
		kind, target, err := Classify(tt.name)
		if err != nil || kind != tt.kind || target != tt.target {
			t.Errorf("Classify(%q) = %v, %q, %v; want %v, %q", tt.name, kind, target, err, tt.kind, tt.target)
		}
	}
}

func TestClassifyRefusesGames(t *testing.T) {
	for _, name := range []string{
		".wh.", "a/.wh.", ".wh..", "a/.wh..", ".wh...", "a/b/.wh...", ".wh.a/.wh.",
	} {
		if kind, target, err := Classify(name); fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("Classify(%q) = %v, %q, %v; want an unsafe input", name, kind, target, err)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, name := range []string{"a/b", ".wh.a", "a/.wh..wh..opq", ".wh..", ".wh..wh.plnk/x", ".wh..wh..opq"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = strings.TrimLeft(path.Clean("/"+name), "/")
		if name == "" {
			return // the root is nobody's whiteout
		}
		kind, target, err := Classify(name)
		if err != nil {
			return
		}
		base := path.Base(target)
		switch {
		case path.Clean(target) != target || strings.HasPrefix(target, "..") && (target == ".." || target[2] == '/'):
			t.Errorf("%q: the target %q is not a clean path below the root", name, target)
		case kind == Whiteout && (base == "." || path.Join(path.Dir(target), Name(base)) != name):
			t.Errorf("%q is taken for the whiteout of %q", name, target)
		case kind == None && (target != name || CheckName(path.Base(name)) != nil):
			t.Errorf("%q is taken for a plain file %q", name, target)
		}
	})
}

func TestNamesThatALayerCannotHold(t *testing.T) {
	for _, name := range []string{".wh.", ".wh.a", OpaqueMarker, MetaPrefix + "x"} {
		err := CheckName(name)
		if fault.ClassOf(err) != fault.Unsupported || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"a", ".wh", ".whx.", "x.wh.y"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}
