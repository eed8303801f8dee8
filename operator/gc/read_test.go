package gc

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

func layer(c string) string { return strings.Repeat(c, 64) }

func TestOnlyOverlaysCountAsMounted(t *testing.T) {
	layers := []inventory.Layer{{ID: layer("1")}, {ID: layer("2")}, {ID: layer("3")}}
	why := findMounted(layers, []*mount.Info{
		{FSType: "overlay", Mountpoint: "/a/" + layer("1") + "/merged"},
		{FSType: "tmpfs", Mountpoint: "/b/" + layer("2") + "/merged"},
		{FSType: "overlay", Mountpoint: "/c/" + layer("3")},
	})
	if len(why) != 1 || !strings.Contains(why[0], "/a/"+layer("1")) {
		t.Errorf("%q", why)
	}
}
