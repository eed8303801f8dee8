package snapshot

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// findKept finds the file systems below the records dataset that do not go back, such as one
// of volumes.
func (p *planner) findKept() error {
	if p.Records == "" || p.Records == p.Layers {
		return nil
	}
	below, err := listBelow(p.zfs, p.Records, p.Layers)
	for _, dataset := range below {
		if !slices.Contains(p.RollBack, dataset.Name) {
			p.Kept = append(p.Kept, dataset.Name)
		}
	}
	slices.Sort(p.Kept)
	return err
}

// listBelow returns the file systems below a dataset, at any depth, without one of them and
// what is below that.
func listBelow(z *zfs.Handle, dataset, without string) (all []zfs.Dataset, err error) {
	for child, err := range z.Children(dataset) {
		switch {
		case errors.Is(err, zfs.ErrNotExist):
			return all, nil // it was destroyed meanwhile
		case err != nil:
			return nil, err
		case child.Name == without || child.Type != zfs.Filesystem:
			continue
		}
		below, err := listBelow(z, child.Name, without)
		if err != nil {
			return nil, err
		}
		all = append(append(all, child), below...)
	}
	return all, nil
}

// NotMounted returns the file systems, of the records dataset and below it, that `zfs mount -a`
// would mount and that are not mounted, each with its directory. An engine that starts without
// them finds empty directories: it has no volumes, and makes new ones.
func (p *Plan) NotMounted() ([]Mount, error) {
	if p.Records == "" {
		return nil, nil
	}
	records, err := p.zfs.DatasetStats(p.Records)
	if err != nil {
		return nil, err
	}
	below, err := listBelow(p.zfs, p.Records, p.Layers)
	if err != nil {
		return nil, err
	}
	pool, err := p.zfs.PoolStats(zfs.PoolOf(p.Records))
	if err != nil {
		return nil, err
	}
	var missing []Mount
	for _, d := range append([]zfs.Dataset{records}, below...) {
		dir := d.Mountpoint()
		if !strings.HasPrefix(dir, "/") || d.CanMount() != "on" {
			continue
		}
		dir = filepath.Join(pool.AltRoot, dir)
		on, err := mount.ListAt(dir)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(on, func(i *mount.Info) bool { return i.Source == d.Name }) {
			missing = append(missing, Mount{Target: dir, Source: d.Name, Type: "zfs", Root: "/"})
		}
	}
	slices.SortFunc(missing, func(a, b Mount) int { return strings.Compare(a.Target, b.Target) })
	return missing, nil
}
