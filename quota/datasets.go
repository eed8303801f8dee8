package quota

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// UpperName is the directory, in a limited layer's own, that its dataset is
// mounted on.
const UpperName = "upper"

// contents are the directories that lie on a layer's dataset; in the layer's
// own directory they are symbolic links.
var contents = []string{"diff", "work"}

// LayerProperty is the user property that marks a dataset as a layer's, and
// names the layer.
const LayerProperty = "overlayzfs:layer"

var keyPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// datasets limits layers by a child dataset each.
type datasets struct {
	zfs    *zfs.Handle
	parent string
	watch  *inodeWatch
}

func newDatasets(c Config) *datasets {
	d := &datasets{zfs: c.ZFS, parent: c.Dataset}
	d.watch = &inodeWatch{count: d.inodes, freeze: d.freeze, thaw: d.limit, layers: map[string]*watched{}}
	return d
}

func (d *datasets) name(key string) string { return d.parent + "/" + key }

func (d *datasets) make(p Place, r *Record, fill func(dir string) error) error {
	properties, err := d.properties(*r)
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
		return err
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
func (d *datasets) fill(p Place, upper string, fill func(dir string) error) error {
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
	}
	if r.Bytes > 0 {
		properties["refquota"] = zfs.Uint(r.Bytes)
	}
	for name, value := range encoded {
		properties[name] = zfs.Uint(value)
	}
	return properties, nil
}

// attach mounts the layer's dataset unless it is. It asks the mount table:
// somebody may have unmounted it, or mounted something else.
func (d *datasets) attach(p Place, r Record) error {
	upper := filepath.Join(p.Dir, UpperName)
	mounts, err := mount.At(upper)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		if top := mounts[len(mounts)-1]; top.Source != d.name(p.Key) {
			return fault.New(fault.Busy, "%q (%s) is mounted on %q, where dataset %q belongs; unmount it", top.Source, top.FSType, upper, d.name(p.Key))
		}
	} else if err := zfs.MountDataset(d.name(p.Key), upper); err != nil {
		return d.explainMissing(p.Key, err)
	}
	d.watch.add(p, r)
	return nil
}

// explainMissing says what to do when a layer's dataset is not where it was.
func (d *datasets) explainMissing(key string, err error) error {
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	return fault.New(fault.NotFound, "dataset %s, which held what this limited container wrote, is gone: destroyed or renamed; rename it back (`zfs list -o name,%s` shows which it is), or remove the container (%w)", d.name(key), LayerProperty, err)
}

func (d *datasets) detach(p Place, _ Record) error {
	d.watch.remove(p.Key)
	return unmount(filepath.Join(p.Dir, UpperName))
}

// unmount also takes away a mount in which a file is still open: it ends with
// its last user.
func unmount(dir string) error {
	err := mount.Unmount(dir)
	if errors.Is(err, fault.Busy) {
		return mount.Detach(dir)
	}
	return err
}

func (d *datasets) set(p Place, r Record) error {
	err := d.limit(p, r)
	if errors.Is(err, zfs.ErrNoSpace) {
		return d.explainTooSmall(p, r, err)
	}
	if err != nil {
		return err
	}
	mounted, err := mount.At(filepath.Join(p.Dir, UpperName))
	if err == nil && len(mounted) > 0 {
		d.watch.update(p, r)
	}
	return err
}

// explainTooSmall says by how much a limit is too low: ZFS takes none below
// what is there.
func (d *datasets) explainTooSmall(p Place, r Record, err error) error {
	stats, look := d.zfs.DatasetStats(d.name(p.Key))
	if look != nil {
		return errors.Join(err, look)
	}
	return fault.New(fault.LimitReached, "a limit of %d bytes is below the %d bytes that the layer holds; delete files in the container first (%w)", r.Bytes, stats.Referenced(), err)
}

func (d *datasets) limit(p Place, r Record) error {
	return d.zfs.SetUint(d.name(p.Key), "refquota", r.Bytes)
}

// freeze limits the layer's dataset to what it holds, or to its own limit if
// that is less.
func (d *datasets) freeze(p Place, r Record) error {
	stats, err := d.zfs.DatasetStats(d.name(p.Key))
	if err != nil {
		return err
	}
	if held := stats.Referenced(); r.Bytes == 0 || held < r.Bytes {
		r.Bytes = held
	}
	return d.limit(p, r)
}

func (d *datasets) usage(p Place, _ Record) (Usage, error) {
	stats, err := d.zfs.DatasetStats(d.name(p.Key))
	if err != nil {
		return Usage{}, d.explainMissing(p.Key, err)
	}
	usage := Usage{Bytes: stats.Referenced()}
	usage.Inodes, err = d.inodes(p)
	return usage, err
}

// discard destroys the layer's dataset. One that has snapshots stays for as
// long as they do: a rollback needs it.
func (d *datasets) discard(_ context.Context, key string, _ Record) error {
	name := d.name(key)
	d.watch.remove(key)
	err := d.zfs.Destroy(name)
	if err == nil || errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	kept, look := d.hasSnapshots(name)
	if look == nil && kept {
		logrus.WithField("dataset", name).Info("the layer is gone, its dataset stays until its last snapshot goes")
		return nil
	}
	return errors.Join(err, look)
}

// hasSnapshots reports whether a dataset has any.
func (d *datasets) hasSnapshots(name string) (bool, error) {
	for _, err := range d.zfs.SnapshotNames(name) {
		return err == nil, err
	}
	return false, nil
}

// sweep destroys the datasets of layers that are gone.
func (d *datasets) sweep(ctx context.Context, recorded func(key string) bool) error {
	children, err := zfs.Collect(d.zfs.Children(d.parent))
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := strings.TrimPrefix(child.Name, d.parent+"/")
		if !keyPattern.MatchString(key) || !child.Local(LayerProperty) || recorded(key) {
			continue
		}
		if err := d.discard(ctx, key, Record{}); err != nil {
			logrus.WithError(err).WithField("dataset", child.Name).Warn("left for the next start")
		}
	}
	return nil
}

func (d *datasets) close() { d.watch.close() }
