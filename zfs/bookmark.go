package zfs

import (
	"cmp"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Bookmark remembers the moment of a snapshot without its data. `zfs send -i` can begin at
// one, and a rollback to an older snapshot is impossible while it exists.
type Bookmark struct {
	Name      string // pool/name#bookmark
	GUID      uint64 // of the snapshot
	CreateTXG uint64 // of the snapshot
}

// Bookmarks returns the bookmarks of one dataset, oldest first. It returns ErrNotExist for a
// missing dataset. (ZFS_IOC_GET_BOOKMARKS, OpenZFS 2.1 to 2.4.)
func (h *Handle) Bookmarks(dataset string) ([]Bookmark, error) {
	const op = "list bookmarks of"
	if err := CheckDatasetName(dataset); err != nil {
		return nil, err
	}
	src, err := nvlist.Encode(nvlist.List{
		{Name: "createtxg", Value: nvlist.Boolean{}}, {Name: "guid", Value: nvlist.Boolean{}},
	})
	if err != nil {
		return nil, invalid(op, dataset, "%v", err)
	}
	c := newCommand()
	c.setName(dataset)
	list, errno := h.queryWith(iocGetBookmarks, c, src)
	if errno != 0 {
		return nil, h.fail(op, dataset, errno)
	}
	var all []Bookmark
	for _, pair := range list {
		inner, ok := pair.Value.(nvlist.List)
		if !ok {
			continue
		}
		properties := unpackProperties(inner)
		all = append(all, Bookmark{dataset + "#" + pair.Name, properties["guid"].Uint(), properties["createtxg"].Uint()})
	}
	slices.SortFunc(all, func(a, b Bookmark) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) })
	return all, nil
}

// DestroyBookmarks destroys bookmarks of one pool, each named pool/name#bookmark. It skips
// missing ones. (ZFS_IOC_DESTROY_BOOKMARKS, OpenZFS 2.1 to 2.4.)
func (h *Handle) DestroyBookmarks(names []string) error {
	const op = "destroy bookmarks"
	if len(names) == 0 {
		return nil
	}
	var list nvlist.List
	for _, name := range names {
		if err := checkBookmarkName(name); err != nil {
			return err
		}
		list = append(list, nvlist.Pair{Name: name, Value: nvlist.Boolean{}})
	}
	return h.change(op, iocDestroyBookmarks, PoolOf(names[0]), list)
}

// checkBookmarkName refuses an invalid full name of a bookmark. The rules are a snapshot's.
func checkBookmarkName(name string) error {
	if dataset, bookmark, found := strings.Cut(name, "#"); !found || CheckSnapshotName(dataset+"@"+bookmark) != nil {
		return fault.New(fault.Invalid, "bookmark name %.300q is invalid: want pool/name#bookmark", name)
	}
	return nil
}
