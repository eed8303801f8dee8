//go:build vm

package overlayzfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/quota"
)

// TestTornLayersLeaveNoShortLink is about a power cut after which the names of a new layer are
// there and its record of its short link is empty.
func TestTornLayersLeaveNoShortLink(t *testing.T) {
	d := openStore(t)
	create(t, d, "torn", "")
	must(t, os.Truncate(d.home.path("torn", linkName), 0))
	removed, err := d.RemoveTorn(t.Context(), []string{"torn"})
	if err != nil || len(removed) != 1 {
		t.Errorf("removed %q, %v", removed, err)
	}
	create(t, d, "orphan", "")
	must(t, os.Truncate(d.home.path("orphan", linkName), 0))
	remove(t, d, "orphan")
	// The same before the rename that publishes it.
	staged := d.home.privatePath(newDir, shortA)
	must(t, d.fillStage(quota.Layer{Key: shortA, Dir: staged}, "never", nil, quota.Spec{}))
	must(t, errors.Join(os.Symlink("../never/diff", d.home.path(linkDir, shortA)), os.Truncate(filepath.Join(staged, linkName), 0)))
	requireTidy(t, crash(t, d))
}
