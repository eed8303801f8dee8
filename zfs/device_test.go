package zfs

import (
	"slices"
	"testing"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

func TestDevicesOfAPool(t *testing.T) {
	disk := func(path string, state uint64) nvlist.List {
		return nvlist.List{{Name: "type", Value: "disk"}, {Name: "path", Value: path}, {Name: "vdev_stats", Value: []uint64{5, state, 0}}}
	}
	mirror := nvlist.List{{Name: "type", Value: "mirror"}, {Name: "children", Value: []nvlist.List{disk("/dev/a", 7), disk("/dev/b", 2)}}}
	short := nvlist.List{{Name: "path", Value: "/dev/d"}, {Name: "vdev_stats", Value: []uint64{5}}}
	root := nvlist.List{{Name: "type", Value: "root"}, {Name: "children", Value: []nvlist.List{mirror, disk("/dev/c", 99), short}}}
	want := []Device{{"/dev/a", "ONLINE"}, {"/dev/b", "OFFLINE"}, {"/dev/c", "UNKNOWN"}, {"/dev/d", "UNKNOWN"}}
	if got := leaves(root); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := leaves(nil); len(got) > 0 {
		t.Errorf("of nothing %v", got)
	}
}
