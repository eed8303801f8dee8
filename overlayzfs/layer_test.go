package overlayzfs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// plant writes a layer's files as they lie on disk.
func plant(t *testing.T, h home, id string, files map[string]string) layer {
	t.Helper()
	l := h.layer(id)
	if err := os.Mkdir(l.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(h.path(id, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

const (
	shortA = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	shortB = "BBBBBBBBBBBBBBBBBBBBBBBBB2"
	shortC = "CCCCCCCCCCCCCCCCCCCCCCCCCC"
)

func TestStack(t *testing.T) {
	h := home(t.TempDir())
	base := plant(t, h, "base", map[string]string{linkName: shortA})
	top := plant(t, h, "top", map[string]string{linkName: shortB, lowerName: "l/" + shortA})
	for l, want := range map[layer][]string{
		base: {"l/" + shortA},
		top:  {"l/" + shortB, "l/" + shortA},
	} {
		got, err := l.stackForChild()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stack of %s (-want +got):\n%s", l.id, diff)
		}
	}
	for parent, want := range map[string]bool{"base": true, "": false, "top": false} {
		if got, err := top.hasParent(parent); err != nil || got != want {
			t.Errorf("top stands on %q: %v, %v", parent, got, err)
		}
	}
}

func TestDamagedLayersAreNamed(t *testing.T) {
	h := home(t.TempDir())
	for id, files := range map[string]map[string]string{
		"shortlink": {linkName: "short"},
		"escape":    {linkName: shortA, lowerName: "l/../../etc"},
		"option":    {linkName: shortA, lowerName: "l/" + shortB + ",upperdir=/etc"},
		"blank":     {linkName: shortA, lowerName: ""},
	} {
		if _, err := plant(t, h, id, files).stackForChild(); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestStackKnowsTheKernelsLimit(t *testing.T) {
	h := home(t.TempDir())
	lowers := strings.TrimSuffix(strings.Repeat("l/"+shortA+":", 500), ":")
	deep := plant(t, h, "deep", map[string]string{linkName: shortB, lowerName: lowers})
	if _, err := deep.stackForChild(); !errors.Is(err, fault.LimitReached) {
		t.Errorf("a stack of 501: %v", err)
	}
}

func TestNewShort(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		short := NewShortName()
		if !quota.IsKey(short) || seen[short] {
			t.Fatalf("short link %q", short)
		}
		seen[short] = true
	}
}
