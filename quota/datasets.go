package quota

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// UpperName is the directory, in a limited layer's own, that its dataset is
// mounted on.
const UpperName = "upper"

// contents are the directories that hold what a container writes. Where they
// lie on a dataset of the layer's own, they are symbolic links in the layer's
// directory.
var contents = []string{"diff", "work"}

// LayerProperty is the user property that marks a dataset as a layer's, and
// names the layer.
const LayerProperty = "overlayzfs:layer"

// RemovedProperty says, set locally on a layer's dataset, that the layer is gone
// and the dataset is only there for its snapshots: no new one is to have it.
const RemovedProperty = "overlayzfs:removed"

// storeProperty names the store that the layer belongs to. Stores that are used
// in place may share a dataset, and none touches another's.
const storeProperty = "overlayzfs:store"

// datasets limits layers by a child dataset each.
type datasets struct {
	zfs    *zfs.Handle
	parent string
	store  string
	home   string // below it layers are made
	owns   func(id, key string) bool
	watch  *inodeWatch
}

func newDatasets(c Config) *datasets {
	d := &datasets{zfs: c.ZFS, parent: c.Dataset, store: c.Store, home: c.Home, owns: c.MayOwn}
	d.watch = &inodeWatch{
		count: mountedInodes, created: zfs.CreatedObjects, endTxg: d.endTxg, counters: d.counters,
		freeze: d.freeze, thaw: d.limit, layers: map[string]*watched{},
	}
	return d
}

func (d *datasets) name(key string) string { return d.parent + "/" + key }

// reserve has nothing to add: a dataset is found by its layer's key.
func (d *datasets) reserve(*Record) error { return nil }

func (d *datasets) make(p Layer, r Record, fill func(dir string) error) error {
	properties, err := d.properties(r)
	if err != nil {
		return err
	}
	if err := d.zfs.CreateFilesystem(d.name(p.Key), properties); err != nil {
		return err
	}
	upper := filepath.Join(p.Dir, UpperName)
	if err := os.Mkdir(upper, 0o710); err != nil {
		return err
	}
	if err := d.fill(p, upper, fill); err != nil {
		return errors.Join(err, os.Remove(upper))
	}
	for _, name := range contents {
		if err := os.Symlink(filepath.Join(UpperName, name), filepath.Join(p.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// fill has the directories made and unmounts again: that writes them out, so
// that a layer that was recorded never comes back without them.
func (d *datasets) fill(p Layer, upper string, fill func(dir string) error) error {
	if err := zfs.MountDataset(d.name(p.Key), upper); err != nil {
		return err
	}
	return errors.Join(fill(upper), unmount(upper))
}

func (d *datasets) properties(r Record) (zfs.Properties, error) {
	encoded, err := r.Properties.encode()
	if err != nil {
		return nil, err
	}
	properties := zfs.Properties{
		"mountpoint":  zfs.String("legacy"), // nobody else's to mount
		LayerProperty: zfs.String(r.Layer),
		storeProperty: zfs.String(d.store),
	}
	if r.Bytes > 0 {
		properties["refquota"] = zfs.Uint(r.Bytes)
	}
	for name, value := range encoded {
		properties[name] = zfs.Uint(value)
	}
	return properties, nil
}

func (d *datasets) set(p Layer, r Record) error {
	err := d.watch.set(p, r, d.limit)
	if errors.Is(err, zfs.ErrNoSpace) {
		return d.explainTooSmall(p, r, err)
	}
	if err != nil {
		return d.explainMissing(p.Key, err)
	}
	if attached, look := d.attached(p); look == nil && attached {
		d.watch.add(p, r)
	}
	return nil
}

// explainTooSmall says by how much a limit is too low: ZFS takes none below
// what is there.
func (d *datasets) explainTooSmall(p Layer, r Record, err error) error {
	stats, look := d.zfs.DatasetStats(d.name(p.Key))
	if look != nil {
		return errors.Join(err, look)
	}
	return fault.New(fault.LimitReached, "%w (%w)", tooSmall(r.Bytes, stats.Referenced(), "bytes"), err)
}

// limit sets the limit unless it is set: that costs a transaction group.
func (d *datasets) limit(p Layer, r Record) error {
	stats, err := d.zfs.DatasetStats(d.name(p.Key))
	if err != nil || stats.RefQuota() == r.Bytes {
		return err
	}
	return d.zfs.SetUint(d.name(p.Key), "refquota", r.Bytes)
}

func (d *datasets) usage(p Layer, _ Record) (Usage, error) {
	stats, err := d.zfs.DatasetStats(d.name(p.Key))
	if err != nil {
		return Usage{}, d.explainMissing(p.Key, err)
	}
	usage := Usage{Bytes: stats.Referenced()}
	usage.Inodes, err = d.inodes(p)
	return usage, err
}

func (d *datasets) close() { d.watch.close() }
