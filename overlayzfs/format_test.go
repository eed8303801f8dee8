package overlayzfs

import (
	"errors"
	"os"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// emptyHome makes a store's directories without the store.
func emptyHome(t *testing.T) home {
	t.Helper()
	h := home(t.TempDir())
	for _, dir := range []string{h.path(linkDir), h.privatePath()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestAStoreBelongsToWhoeverAskedFirst(t *testing.T) {
	for _, doors := range [][]string{{"a", "b", ""}, {"b", "", "a"}} {
		h := emptyHome(t)
		if err := checkDoor(h, ""); err != nil { // leaves no name
			t.Fatal(err)
		}
		for range 2 {
			if err := checkDoor(h, doors[0]); err != nil {
				t.Error(err)
			}
		}
		for _, other := range doors[1:] {
			if err := checkDoor(h, other); !errors.Is(err, fault.Exists) {
				t.Errorf("%q opens the store of %q: %v", other, doors[0], err)
			}
		}
	}
}

func TestAStoreWithLayersAndNoNameIsAGraphdrivers(t *testing.T) {
	h := emptyHome(t)
	if err := os.Symlink("../x/diff", h.path(linkDir, "X")); err != nil {
		t.Fatal(err)
	}
	if err := checkDoor(h, "a"); !errors.Is(err, fault.Exists) {
		t.Error(err)
	}
	if err := checkDoor(h, ""); err != nil {
		t.Error(err)
	}
}
