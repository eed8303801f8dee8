package quota

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// UpperName is the directory in a limited layer's own directory on which its dataset is
// mounted.
const UpperName = "upper"

// contentDirs are the directories that a container writes to. On a dataset of the layer's
// own, they are symbolic links in the layer's directory.
var contentDirs = []string{"diff", "work"}

// LayerProperty is the user property that marks a dataset as a layer's. Its value is the
// layer's ID.
const LayerProperty = "overlayzfs:layer"

// autoSnapshotProperty excludes a dataset from the rounds of zfs-auto-snapshot, and of other
// programs that respect it. Layers come and go too fast for snapshots of their own.
const autoSnapshotProperty = "com.sun:auto-snapshot"

// storeProperty holds the random name of the layer's store. Stores that are used in place
// may share a dataset, and none touches another's layers.
const storeProperty = "overlayzfs:store"

// datasets limits each layer by a child dataset.
type datasets struct {
	zfs        *zfs.Handle
	parent     string
	store      string
	staging    string // the staging directory of layers
	mayHaveKey func(id, key string) bool
	watch      *inodeWatch
	removedMu  sync.Mutex // makes and destroys the parent of removed layers' datasets
}

func newDatasets(c Config) *datasets {
	d := &datasets{zfs: c.ZFS, parent: c.Dataset, store: c.Store, staging: c.Staging, mayHaveKey: c.MayHaveKey}
	d.watch = &inodeWatch{
		count: countMountedInodes, created: zfs.CreatedObjects, endTxg: d.endTxg, objsetReader: d.objsetReader,
		freeze: d.freeze, thaw: d.setRefquota, layers: map[string]*watchedLayer{},
	}
	return d
}

func (d *datasets) datasetName(key string) string { return d.parent + "/" + key }

// reserve adds nothing to the record: the layer's key names its dataset.
func (d *datasets) reserve(*Record) error { return nil }

func (d *datasets) make(layer Layer, r Record, fill func(dir string) error) error {
	upper := filepath.Join(layer.Dir, UpperName)
	if err := os.Mkdir(upper, 0o710); err != nil {
		return err
	}
	if err := d.createFilled(layer.Key, r, upper, fill); err != nil {
		return errors.Join(err, os.Remove(upper))
	}
	return linkContents(layer)
}

// linkContents makes the links from the layer's directory into its dataset.
func linkContents(layer Layer) error {
	for _, name := range contentDirs {
		if err := os.Symlink(filepath.Join(UpperName, name), filepath.Join(layer.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// createFilled creates a dataset, mounts it on dir, has fill make the directories in it and
// unmounts it. The unmount writes them out, so a recorded layer never comes back without them.
func (d *datasets) createFilled(key string, r Record, dir string, fill func(dir string) error) error {
	properties, err := d.properties(r)
	if err != nil {
		return err
	}
	if err := d.zfs.CreateFilesystem(d.datasetName(key), properties); err != nil {
		return err
	}
	if err := zfs.MountDataset(d.datasetName(key), dir); err != nil {
		return err
	}
	return errors.Join(fill(dir), unmountOrDetach(dir))
}

func (d *datasets) properties(r Record) (zfs.Properties, error) {
	encoded, err := r.Properties.encode()
	if err != nil {
		return nil, err
	}
	properties := zfs.Properties{
		"mountpoint":  zfs.String("legacy"), // only the driver mounts it
		LayerProperty: zfs.String(r.Layer),
		storeProperty: zfs.String(d.store),

		autoSnapshotProperty: zfs.String("false"),
	}
	if r.Bytes > 0 {
		properties["refquota"] = zfs.Uint(r.Bytes)
	}
	for name, value := range encoded {
		properties[name] = zfs.Uint(value)
	}
	return properties, nil
}

func (d *datasets) set(layer Layer, r Record) error {
	err := d.watch.set(layer, r, d.setRefquota)
	if errors.Is(err, zfs.ErrNoSpace) {
		return d.explainTooSmall(layer, r, err)
	}
	if err != nil {
		return d.explainMissing(layer.Key, err)
	}
	if err := d.nameAdopted(layer, r); err != nil {
		return err
	}
	if attached, look := d.isAttached(layer); look == nil && attached {
		d.watch.add(layer, r)
	}
	return nil
}

// explainTooSmall says how much a layer holds: ZFS accepts no limit below that.
func (d *datasets) explainTooSmall(layer Layer, r Record, err error) error {
	stats, look := d.zfs.DatasetStats(d.datasetName(layer.Key))
	if look != nil {
		return errors.Join(err, look)
	}
	return fault.New(fault.LimitReached, "%w (%w)", limitTooSmallError(r.Bytes, stats.Referenced(), "bytes"), err)
}

// setRefquota sets the refquota unless it is set already, because that costs a transaction
// group.
func (d *datasets) setRefquota(layer Layer, r Record) error {
	stats, err := d.zfs.DatasetStats(d.datasetName(layer.Key))
	if err != nil || stats.RefQuota() == r.Bytes {
		return err
	}
	return d.zfs.SetUint(d.datasetName(layer.Key), "refquota", r.Bytes)
}

func (d *datasets) usage(layer Layer, _ Record) (Usage, error) {
	stats, err := d.zfs.DatasetStats(d.datasetName(layer.Key))
	if err != nil {
		return Usage{}, d.explainMissing(layer.Key, err)
	}
	usage := Usage{Bytes: stats.Referenced()}
	usage.Inodes, err = d.countInodes(layer)
	return usage, err
}

func (d *datasets) close() { d.watch.close() }

// attach mounts the layer's dataset unless it is mounted.
func (d *datasets) attach(layer Layer, r Record) error {
	attached, err := d.isAttached(layer)
	if err != nil {
		return err
	}
	if !attached {
		if err := zfs.MountDataset(d.datasetName(layer.Key), filepath.Join(layer.Dir, UpperName)); err != nil {
			return d.explainMissing(layer.Key, err)
		}
	}
	return d.startWatch(layer, r)
}

// startWatch begins to watch a layer that is not watched yet. It puts the recorded limit in
// force, because a rollback or a freeze may have left another one.
func (d *datasets) startWatch(layer Layer, r Record) error {
	if d.watch.has(layer.Key) {
		return nil
	}
	if err := d.setRefquota(layer, r); err != nil && !errors.Is(err, zfs.ErrNoSpace) { // it holds more than the limit: only deletions work
		return err
	}
	d.watch.add(layer, r)
	return nil
}

// isAttached reports whether the layer's dataset is mounted on its directory. It asks the
// mount table, because other processes may have unmounted it. Another mount there is an
// error.
func (d *datasets) isAttached(layer Layer) (bool, error) {
	upper := filepath.Join(layer.Dir, UpperName)
	top, err := topMount(upper)
	if err != nil || top == nil {
		return false, err
	}
	if top.Source == d.datasetName(layer.Key) {
		return true, nil
	}
	if there, err := d.zfs.Exists(d.datasetName(layer.Key)); err == nil && !there {
		return false, d.missingError(layer.Key, fault.NotFound)
	}
	return false, fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on %q, where dataset %q belongs; unmount it", top.Source, top.FSType, upper, d.datasetName(layer.Key))
}

// topMount returns the visible mount on a directory, or nil.
func topMount(dir string) (*mount.Info, error) {
	mounts, err := mount.ListAt(dir)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	return mounts[len(mounts)-1], nil
}

// explainMissing says what to do when a layer's dataset is missing.
func (d *datasets) explainMissing(key string, err error) error {
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	return d.missingError(key, err)
}

func (d *datasets) missingError(key string, why error) error {
	return fault.New(fault.NotFound, "dataset %s, which held what this limited container wrote, is gone: destroyed or renamed; rename it back (`zfs list -o name,%s` shows which it is), or remove the container (%w)", d.datasetName(key), LayerProperty, why)
}

// detach unmounts every ZFS file system there. The layer's dataset may have been renamed
// while it was mounted, and may be mounted more than once.
func (d *datasets) detach(layer Layer, _ Record) error {
	d.watch.remove(layer.Key)
	upper := filepath.Join(layer.Dir, UpperName)
	for {
		top, err := topMount(upper)
		if err != nil || top == nil {
			return err
		}
		if top.FSType != "zfs" {
			return fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on %q, over dataset %q; unmount it", top.Source, top.FSType, upper, d.datasetName(layer.Key))
		}
		if err := unmountOrDetach(upper); err != nil {
			return err
		}
	}
}

// unmountOrDetach unmounts dir. It detaches a mount with an open file, which ends with its
// last user.
func unmountOrDetach(dir string) error {
	err := mount.Unmount(dir)
	if errors.Is(err, fault.Busy) {
		return mount.Detach(dir)
	}
	return err
}
