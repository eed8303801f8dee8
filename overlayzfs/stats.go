package overlayzfs

import (
	"errors"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Stats are a store in numbers, as Status is in words.
type Stats struct {
	Dataset string
	// Pool is the store's. Without /dev/zfs, and while it is suspended, only name
	// and health are known.
	Pool zfs.Pool
	// Space is nil where it is not known.
	Space *Space
	// OpenContent is nil while the pool is suspended: to look would be to wait for it.
	Content *Content
}

// Space is what the store's dataset takes, with all below it, in bytes.
type Space struct {
	Used, Logical, Snapshots, Available uint64
}

// OpenContent is how much there is in a store.
type Content struct {
	Layers   int
	Mounts   int // of layers, whoever made them
	Removing int // removed layers whose files are not deleted yet
	Limited  []LimitedLayer
}

// LimitedLayer is a layer with a limit of its own, and what it holds.
type LimitedLayer struct {
	ID     string
	Limits Limits
	Usage  quota.Usage
}

// Stats counts what there is. Of a suspended pool it asks nothing that would
// wait.
func (d *Driver) Stats() (Stats, error) {
	s, err := d.stats()
	return s, d.in("stats", "", err)
}

func (d *Driver) stats() (s Stats, err error) {
	s = Stats{Dataset: d.dataset, Pool: zfs.Pool{Name: d.pool()}}
	if s.Pool.Health, err = zfs.PoolState(d.pool()); err != nil || s.Pool.Suspended() {
		return s, err
	}
	if err := d.present(); err != nil {
		return s, err
	}
	if d.zfs != nil {
		if s.Pool, err = d.zfs.PoolStats(d.pool()); err != nil {
			return s, err
		}
		if s.Space, err = d.space(); err != nil {
			return s, err
		}
	}
	s.Content, err = d.content()
	return s, err
}

func (d *Driver) space() (*Space, error) {
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return nil, err
	}
	return &Space{Used: stats.Used(), Logical: stats.LogicalUsed(), Snapshots: stats.UsedBySnapshots(), Available: stats.Available()}, nil
}

func (d *Driver) content() (*Content, error) {
	var c Content
	var errs [4]error
	c.Layers, errs[0] = d.countLayers()
	c.Mounts, errs[1] = d.countMounts()
	c.Removing, errs[2] = d.countRemoving()
	c.Limited, errs[3] = d.limitedLayers()
	return &c, errors.Join(errs[:]...)
}

// countMounts counts mounted layers. Where a caller mounts them elsewhere, those
// mounts are known by what they stand on.
func (d *Driver) countMounts() (int, error) {
	if d.outside {
		return mount.CountOverlaysOn(string(d.home))
	}
	mounted, err := mountedLayers(d.home)
	return len(mounted), err
}

func (d *Driver) countRemoving() (int, error) {
	waiting, err := readNames(d.home.own(trashName))
	return len(waiting), err
}

// limitedLayers asks for each limited layer what it holds.
func (d *Driver) limitedLayers() ([]LimitedLayer, error) {
	records, err := d.limits.Records()
	if err != nil {
		return nil, err
	}
	var all []LimitedLayer
	for key, r := range records {
		if r == nil || r.Limits == (Limits{}) {
			continue // not readable, which the start says; or only properties
		}
		used, err := d.limits.Usage(quota.Layer{Key: key, Dir: d.home.layer(r.Layer).dir()})
		if errors.Is(fault.Classify(err), fault.NotFound) {
			continue // being made, or removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, LimitedLayer{ID: r.Layer, Limits: r.Limits, Usage: used})
	}
	return all, nil
}
