package quota

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// inodes counts the files on the layer's dataset, as of the last transaction
// group.
func (d *datasets) inodes(p Layer) (uint64, error) {
	if attached, err := d.attached(p); err != nil || !attached {
		return d.unmountedInodes(p.Key)
	}
	n, err := mountedInodes(p)
	if err != nil {
		return 0, err
	}
	return n - min(n, d.deleted(p.Key)()), nil
}

// mountedInodes is one statfs: cheap enough to ask often.
func mountedInodes(p Layer) (uint64, error) {
	dir := filepath.Join(p.Dir, UpperName)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %q: %w", dir, err)
	}
	return st.Files - st.Ffree, nil
}

// deleted returns what counts the files that were deleted and are still on the
// dataset. A file takes space to be deleted: ZFS leaves those that are deleted
// at a full refquota, and so of a frozen layer, until the dataset is mounted
// again.
func (d *datasets) deleted(key string) func() uint64 {
	counters := objsetFile{pool: zfs.PoolOf(d.parent), dataset: d.name(key)}
	return func() uint64 {
		objset, err := counters.read()
		if err != nil {
			return 0 // counted as if they were there
		}
		return objset.Unlinked - min(objset.Unlinked, objset.UnlinkedFreed)
	}
}

// unmountedInodes asks ZFS's accounting, which also knows datasets that are not
// mounted. A pool without project accounting does not say: that is 0.
func (d *datasets) unmountedInodes(key string) (uint64, error) {
	projects, err := d.zfs.Projects(d.name(key))
	if errors.Is(err, zfs.ErrUnsupported) {
		return 0, nil
	}
	var all uint64
	for _, project := range projects {
		all += project.Objects
	}
	return all, err
}

// marginFirst and marginLast are how far above what a dataset holds a frozen
// one may be limited. A refquota is checked when it takes effect, by when a
// busy container holds more than was counted.
const (
	marginFirst = 1 << 20
	marginLast  = 64 << 20
)

// freeze limits the layer's dataset to what it holds, or to its own limit if
// that is less.
func (d *datasets) freeze(p Layer, r Record) error {
	for margin := uint64(0); ; margin = max(2*margin, marginFirst) {
		stats, err := d.zfs.DatasetStats(d.name(p.Key))
		if err != nil {
			return err
		}
		frozen := r
		if held := stats.Referenced() + margin; r.Bytes == 0 || held < r.Bytes {
			frozen.Bytes = held
		}
		err = d.limit(p, frozen)
		if !errors.Is(err, zfs.ErrNoSpace) || margin >= marginLast {
			return err
		}
	}
}
