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

// Measurer measures layers.
type Measurer struct {
	View    *overlayzfs.StoreView
	ZFS     *zfs.Handle
	Dataset string
}

// Measure finds out what layers hold, several at once; measured is called after
// each. A layer that is removed meanwhile stays without size.
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
