package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Measurer measures the sizes of layers.
type Measurer struct {
	View    *overlayzfs.StoreView
	ZFS     *zfs.Handle
	Dataset string
}

// Measure sets the sizes of layers, several at once, and calls measured after each. A
// layer that is removed meanwhile stays without a size.
func (s Measurer) Measure(ctx context.Context, layers []*Layer, measured func()) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, l := range layers {
		group.Go(func() (err error) {
			defer measured()
			if l.Size, err = s.measureLayer(ctx, l); errors.Is(err, fs.ErrNotExist) || errors.Is(err, zfs.ErrNotExist) {
				l.Size, err = nil, nil
			}
			if err != nil {
				err = fmt.Errorf("layer %s: %w", l.ID, err)
			}
			return err
		})
	}
	return group.Wait()
}

func (s Measurer) measureLayer(ctx context.Context, l *Layer) (*Size, error) {
	switch {
	case l.Damaged != "":
		return nil, nil
	case l.Limit != nil && l.Limit.Mode == quota.Dataset:
		d, err := s.ZFS.DatasetStats(l.Limit.Dataset)
		if err != nil {
			return nil, err
		}
		return &Size{Apparent: int64(d.LogicalReferenced()), Allocated: int64(d.Referenced())}, nil
	case l.Limit != nil:
		used, err := s.ZFS.ProjectUsage(s.Dataset, l.Limit.Project)
		return &Size{int64(used.Bytes), int64(used.Bytes), int64(used.Objects)}, err
	}
	usage, err := s.View.Usage(ctx, l.ID)
	return &Size{usage.Apparent, usage.Allocated, usage.Inodes}, err
}

// Measure reads the space of the store's dataset, of limited containers and of snapshots.
func (t *Totals) Measure(z *zfs.Handle, dataset, pool string) error {
	p, err := z.PoolStats(pool)
	if err != nil {
		return err
	}
	t.Dataset, t.Pool = dataset, Pool{Name: p.Name, Health: p.Health, Size: p.Size, Allocated: p.Allocated, Free: p.Free}
	d, err := z.DatasetStats(dataset)
	if err != nil {
		return err
	}
	t.Space = Space{
		Used: d.Used(), Logical: d.LogicalUsed(), Layers: d.Referenced(), Snapshots: d.UsedBySnapshots(), Available: d.Available(),
	}
	live, removed, err := quota.ListDatasets(z, dataset)
	if err != nil {
		return err
	}
	// ZFS counts snapshots of limited containers as their datasets' space; they are
	// counted as snapshots here. Only snapshots keep the datasets of removed containers.
	for _, child := range live {
		if quota.IsSpare(child) {
			continue // no container's yet
		}
		t.Space.Limited += child.Used() - min(child.Used(), child.UsedBySnapshots())
		t.Space.Snapshots += child.UsedBySnapshots()
	}
	for _, child := range removed {
		t.Space.Snapshots += child.Used()
	}
	return nil
}

// measureLayers replaces the space of the dataset by that of the layers, for a store in place:
// its dataset holds more than layers. Image layers count with the size that Docker recorded.
func (t *Totals) measureLayers(inv *Inventory) {
	t.Space.Layers = 0
	for _, l := range inv.Layers {
		switch {
		case l.Limit != nil && l.Limit.Mode == quota.Dataset:
		case l.Size != nil:
			t.Space.Layers += uint64(max(0, l.Size.Allocated))
		default:
			t.Space.Layers += uint64(max(0, l.Recorded))
		}
	}
}
