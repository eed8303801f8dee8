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
	return n - min(n, deletedFiles(d.counters(p.Key)())), nil
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

// counters returns what reads the counters of a layer's dataset.
func (d *datasets) counters(key string) func() zfs.Objset {
	file := objsetFile{pool: zfs.PoolOf(d.parent), dataset: d.name(key)}
	return func() zfs.Objset {
		objset, err := file.read()
		if err != nil {
			return zfs.Objset{} // deleted files count as if they were there
		}
		return objset
	}
}

// deletedFiles counts the files that were deleted and are still on the dataset.
// A file takes space to be deleted: ZFS leaves those that are deleted at a full
// refquota, and so of a frozen layer, until the dataset is mounted again.
func deletedFiles(objset zfs.Objset) uint64 {
	return objset.Unlinked - min(objset.Unlinked, objset.UnlinkedFreed)
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

// endTxg ends the open transaction group: ZFS counts files then. Setting a
// refquota to what it is changes nothing and waits for one group, where a
// request to sync the pool waits for three (ZFS_IOC_SET_PROP, OpenZFS 2.1 to 2.4).
func (d *datasets) endTxg(p Layer, r Record) error {
	err := d.zfs.SetUint(d.name(p.Key), "refquota", r.Bytes)
	if errors.Is(err, zfs.ErrNoSpace) {
		return nil // it holds more already, and the group has ended all the same
	}
	return err
}

// marginFirst and marginLast are how far above what a dataset holds a frozen
// one may be limited. A refquota is checked when it takes effect, by when a
// busy container holds more than was counted.
const (
	marginFirst = 128 << 10
	marginLast  = 256 << 20
)

// freeze limits the layer's dataset to what it holds, or to its own limit if
// that is less; pending was written, and the dataset may not show it yet. Each
// refusal took a transaction group: the next try allows for twice what the
// container wrote in it.
func (d *datasets) freeze(p Layer, r Record, pending uint64) error {
	for margin, before := 2*pending, uint64(0); ; {
		stats, err := d.zfs.DatasetStats(d.name(p.Key))
		if err != nil {
			return err
		}
		held := stats.Referenced()
		if before > 0 {
			margin = max(marginFirst, 2*margin, 2*(held-min(held, before)))
		}
		if now := stats.RefQuota(); now != r.Bytes && now <= held+margin {
			return nil // it is frozen closer than that
		}
		frozen := r
		if r.Bytes == 0 || held+margin < r.Bytes {
			frozen.Bytes = held + margin
		}
		err = d.limit(p, frozen)
		if !errors.Is(err, zfs.ErrNoSpace) || margin >= marginLast {
			return err
		}
		before = held
	}
}
