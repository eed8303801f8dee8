//go:build vm

package zfs

import (
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestRenameTakesSnapshotsAlong(t *testing.T) {
	h := open(t)
	name := fresh(t)
	check(t, h.CreateFilesystem(name+"/a", nil))
	check(t, h.CreateFilesystem(name+"/b", nil))
	check(t, h.Snapshot([]string{name + "/a@s"}, nil))
	check(t, h.Rename(name+"/a", name+"/b/a"))
	if there, err := h.Exists(name + "/b/a@s"); !there || err != nil {
		t.Errorf("the snapshot is gone: %v", err)
	}
	wantError(t, h.Rename(name+"/a", name+"/c"), ErrNotExist)
	wantError(t, h.Rename(name+"/b/a", name+"/b"), ErrExist)
	wantError(t, h.Rename(name+"/b/a", name+"/none/a"), ErrNotExist)
}

func TestBookmarks(t *testing.T) {
	h := open(t)
	name := fresh(t)
	if all, err := h.Bookmarks(name); err != nil || len(all) > 0 {
		t.Errorf("of a new dataset: %v, %v", all, err)
	}
	check(t, h.Snapshot([]string{name + "@one"}, nil))
	check(t, h.Snapshot([]string{name + "@two"}, nil))
	cli(t, "zfs", "bookmark", name+"@two", name+"#two")
	cli(t, "zfs", "bookmark", name+"@one", name+"#one")
	all, err := h.Bookmarks(name)
	check(t, err)
	if len(all) != 2 || all[0].Name != name+"#one" || all[1].Name != name+"#two" {
		t.Fatalf("%+v", all)
	}
	for i, snap := range []string{"@one", "@two"} {
		stats, err := h.DatasetStats(name + snap)
		check(t, err)
		equal(t, snap, all[i].CreateTXG, stats.CreateTXG)
		equal(t, snap, all[i].GUID, stats.GUID)
	}
	wantError(t, h.Rollback(t.Context(), name, name+"@one"), ErrExist)
	check(t, h.DestroyBookmarks([]string{name + "#two", name + "#missing"}))
	check(t, h.DestroySnapshots([]string{name + "@two"}, false))
	check(t, h.Rollback(t.Context(), name, name+"@one"))
	check(t, h.DestroyBookmarks(nil))
	wantError(t, h.DestroyBookmarks([]string{name + "@one"}), fault.Invalid)
	_, err = h.Bookmarks(name + "/none")
	wantError(t, err, ErrNotExist)
}
