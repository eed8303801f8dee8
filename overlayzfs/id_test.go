package overlayzfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestCheckID(t *testing.T) {
	good := []string{
		"a", "Base", "empty", strings.Repeat("0123abcd", 8), strings.Repeat("0123abcd", 8) + "-init",
		"7j3k5l9m2n4p6q8r1s0t2u4v6", "with_under.dot-dash", strings.Repeat("x", 255), "L", "ll",
	}
	for _, id := range good {
		if err := checkID("layer", id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	bad := []string{
		"", "l", ".", "..", ".overlayzfs", "a/b", "../a", "/", "a\x00b", "a:b", "a,b", `a\b`, "a b", "ü", "-rf", "_x",
		"a\nb", strings.Repeat("x", 256), strings.Repeat("x", 1<<20), "\xff",
	}
	for _, id := range bad {
		err := checkID("layer", id)
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%.40q: %v", id, err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%.40q: the error has %d bytes", id, len(err.Error()))
		}
	}
}

func TestCheckPair(t *testing.T) {
	if err := checkIDs("a", ""); err != nil {
		t.Error(err)
	}
	for _, parent := range []string{"a", "..", "x/y"} {
		if err := checkIDs("a", parent); !errors.Is(err, fault.Invalid) {
			t.Errorf("parent %q: %v", parent, err)
		}
	}
}

func FuzzCheckID(f *testing.F) {
	for _, seed := range []string{"", "a", "..", "l", "a/b", "a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if checkID("layer", id) == nil && (strings.ContainsAny(id, "/:,\\\x00 ") || id[0] == '.' || id == linkDir) {
			t.Errorf("%q was let through", id)
		}
	})
}
