package quota

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// countInodes counts the files on the layer's dataset, as of the last transaction group.
func (d *datasets) countInodes(layer Layer) (uint64, error) {
	if attached, err := d.isAttached(layer); err != nil || !attached {
		return d.countUnmountedInodes(layer.Key)
	}
	n, err := countMountedInodes(layer)
	if err != nil {
		return 0, err
	}
	return n - min(n, countDeleted(d.objsetReader(layer.Key)())), nil
}

// countMountedInodes asks by one statfs, which is cheap enough to repeat often.
func countMountedInodes(layer Layer) (uint64, error) {
	dir := filepath.Join(layer.Dir, UpperName)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %q: %w", dir, err)
	}
	return st.Files - st.Ffree, nil
}

// objsetReader returns a function that reads the counters of a layer's dataset.
func (d *datasets) objsetReader(key string) func() zfs.Objset {
	file := objsetFile{pool: zfs.PoolOf(d.parent), dataset: d.datasetName(key)}
	return func() zfs.Objset {
		objset, err := file.read()
		if err != nil {
			return zfs.Objset{} // then deleted files count as existing
		}
		return objset
	}
}

// countDeleted counts the deleted files that are still on the dataset. A deletion takes
// space. At a full refquota, which a frozen layer has, ZFS keeps deleted files until the
// dataset is mounted again.
func countDeleted(objset zfs.Objset) uint64 {
	return objset.Unlinked - min(objset.Unlinked, objset.UnlinkedFreed)
}

// countUnmountedInodes asks ZFS's accounting, which covers unmounted datasets. Without
// project accounting on the pool it returns 0.
func (d *datasets) countUnmountedInodes(key string) (uint64, error) {
	projects, err := d.zfs.Projects(d.datasetName(key))
	if errors.Is(err, zfs.ErrUnsupported) {
		return 0, nil
	}
	var all uint64
	for _, project := range projects {
		all += project.Objects
	}
	return all, err
}

// endTxg ends the open transaction group, in which ZFS counts files. It sets the refquota to
// its present value, which changes nothing and waits for one group. A request to sync the
// pool waits for three (ZFS_IOC_SET_PROP, OpenZFS 2.1 to 2.4).
func (d *datasets) endTxg(layer Layer, r Record) error {
	err := d.zfs.SetUint(d.datasetName(layer.Key), "refquota", r.Bytes)
	if errors.Is(err, zfs.ErrNoSpace) {
		return nil // the layer holds more, and the group has ended all the same
	}
	return err
}

// minMargin and maxMargin bound how far above its usage a frozen dataset is limited. The
// kernel checks a refquota when it takes effect. By then a busy container holds more than
// was counted.
const (
	minMargin = 128 << 10
	maxMargin = 256 << 20
)

// freeze limits the layer's dataset to what it holds, or to its own limit if that is less.
// pending bytes were taken and may not show in the usage yet. Each refusal takes a
// transaction group, and on a busy processor each group takes longer than the one before, with
// more files in it. So the first attempt has to succeed, and the next one adds twice of what
// the container wrote in a group.
func (d *datasets) freeze(layer Layer, r Record, pending uint64) error {
	for margin, before := min(2*pending, maxMargin/2), uint64(0); ; {
		stats, err := d.zfs.DatasetStats(d.datasetName(layer.Key))
		if err != nil {
			return err
		}
		held := stats.Referenced()
		if before > 0 {
			margin = max(minMargin, 2*margin, 2*(held-min(held, before)))
		}
		if now := stats.RefQuota(); now != r.Bytes && now <= held+margin {
			return nil // the layer is frozen closer already
		}
		frozen := r
		if r.Bytes == 0 || held+margin < r.Bytes {
			frozen.Bytes = held + margin
		}
		err = d.setRefquota(layer, frozen)
		if !errors.Is(err, zfs.ErrNoSpace) || margin >= maxMargin {
			return err
		}
		before = held
	}
}
