package overlayzfs

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treesize"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Stats describes a store in numbers, as Status does in words.
type Stats struct {
	Dataset string
	// Pool is the store's pool. Without /dev/zfs, and while the pool is suspended, only name
	// and health are known.
	Pool zfs.Pool
	// Space is nil without /dev/zfs, and while the pool is suspended.
	Space *Space
	// Content is nil while the pool is suspended, because counting would wait.
	Content *Content
	CopyUp  CopyUp
}

// Space is the space of the store's dataset and its descendants, in bytes.
type Space struct {
	Used, Logical, Snapshots, Available uint64
}

// Content counts the layers of a store.
type Content struct {
	Layers   int
	Mounts   int // mounted layers, external mounts included
	Removing int // removed layers whose files are still to be deleted
	Limited  []LimitedLayer
}

// LimitedLayer is a layer with a limit, and its usage.
type LimitedLayer struct {
	ID     string
	Limits Limits
	Usage  quota.Usage
}

// Stats counts what the store holds. It asks a suspended pool nothing that would wait.
func (d *Driver) Stats() (Stats, error) {
	s, err := d.stats()
	return s, d.addContext("stats", "", err)
}

func (d *Driver) stats() (s Stats, err error) {
	s = Stats{Dataset: d.dataset, Pool: zfs.Pool{Name: d.pool()}, CopyUp: d.describeCopyUp()}
	if s.Pool.Health, err = zfs.PoolState(d.pool()); err != nil || s.Pool.Suspended() {
		return s, err
	}
	if err := d.checkHome(); err != nil {
		return s, err
	}
	if d.zfs != nil {
		if s.Pool, err = d.zfs.PoolStats(d.pool()); err != nil {
			return s, err
		}
		if s.Space, err = d.readSpace(); err != nil {
			return s, err
		}
	}
	s.Content, err = d.countContent()
	return s, err
}

func (d *Driver) readSpace() (*Space, error) {
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return nil, err
	}
	return &Space{Used: stats.Used(), Logical: stats.LogicalUsed(), Snapshots: stats.UsedBySnapshots(), Available: stats.Available()}, nil
}

func (d *Driver) countContent() (*Content, error) {
	var c Content
	var errs [4]error
	c.Layers, errs[0] = d.countLayers()
	c.Mounts, errs[1] = d.countMounts()
	c.Removing, errs[2] = d.countRemoving()
	c.Limited, errs[3] = d.limitedLayers()
	return &c, errors.Join(errs[:]...)
}

// countMounts counts mounted layers. External mounts are recognised by their lower
// directories.
func (d *Driver) countMounts() (int, error) {
	if d.externalMounts {
		return mount.CountOverlaysOn(string(d.home))
	}
	mounted, err := mountedLayers(d.home)
	return len(mounted), err
}

func (d *Driver) countRemoving() (int, error) {
	waiting, err := readNames(d.home.privatePath(trashDir))
	return len(waiting), err
}

// limitedLayers asks ZFS for the usage of each limited layer.
func (d *Driver) limitedLayers() ([]LimitedLayer, error) {
	records, err := d.limits.Records()
	if err != nil {
		return nil, err
	}
	var all []LimitedLayer
	for key, r := range records {
		if r == nil || r.Limits == (Limits{}) {
			continue // unreadable, which the start logs; or only properties
		}
		used, err := d.limits.Usage(quota.Layer{Key: key, Dir: d.home.layer(r.Layer).dir()})
		if errors.Is(fault.Classify(err), fault.NotFound) {
			continue // being created, or removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, LimitedLayer{ID: r.Layer, Limits: r.Limits, Usage: used})
	}
	return all, nil
}

// Usage is what one layer holds, without the layers below.
type Usage struct {
	Inodes int64
	// Allocated is the space in the pool: compressed, with the padding of blocks. It lags
	// behind by one transaction group.
	Allocated int64
	// Apparent is the sum of the files' lengths.
	Apparent int64
}

// Usage counts a layer's files. For a limited layer it returns ZFS's counts.
func (d *Driver) Usage(ctx context.Context, id string) (usage Usage, err error) {
	if err := checkID("layer", id); err != nil {
		return Usage{}, d.addContext("usage", id, err)
	}
	if err := d.checkHome(); err != nil {
		return Usage{}, d.addContext("usage", id, err)
	}
	usage, err = d.usage(ctx, d.home.layer(id))
	return usage, d.addContext("usage", id, err)
}

func (d *Driver) usage(ctx context.Context, l layer) (Usage, error) {
	if err := l.requireExists("layer"); err != nil {
		return Usage{}, err
	}
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return Usage{}, err
	}
	r, err := d.limits.Find(quotaLayer.Key)
	if err != nil {
		return Usage{}, err
	}
	if r == nil {
		return countFiles(ctx, l.diff())
	}
	used, err := d.limits.Usage(quotaLayer)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Inodes: int64(used.Inodes), Allocated: int64(used.Bytes), Apparent: int64(used.Bytes)}, nil
}

// countFiles walks a directory that a container may be changing, and never leaves it.
// Files that vanish meanwhile are not counted.
func countFiles(ctx context.Context, dir string) (usage Usage, err error) {
	root, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return Usage{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	sum, err := treesize.Walk(ctx, int(root.Fd()))
	return Usage{Inodes: sum.Inodes, Allocated: sum.Allocated, Apparent: sum.Regular}, err
}
