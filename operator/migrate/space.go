package migrate

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// isOnStorePool reports whether a directory lies on the store's pool. An error counts
// as no.
func (p *planner) isOnStorePool(dir string) bool {
	onZFS, err := zfs.IsZFS(dir)
	if err != nil || !onZFS {
		return false
	}
	dataset, err := zfs.DatasetOf(dir)
	return err == nil && zfs.PoolOf(dataset) == p.storePool()
}

// storePool returns the store's pool, or "" when the store is not on ZFS.
func (p *planner) storePool() string {
	if p.Dataset != "" {
		return zfs.PoolOf(p.Dataset)
	}
	dataset, err := zfs.DatasetOf(p.Root)
	if err != nil {
		return ""
	}
	return zfs.PoolOf(dataset)
}

// blockCloning is the pool feature that lets files share blocks
// (SPA_FEATURE_BLOCK_CLONING of module/zcommon/zfeature_common.c, OpenZFS 2.2).
const blockCloning = "com.fudosecurity:block_cloning"

// canShareBlocks reports whether files copied from a directory share their blocks with
// the originals. An error counts as no, so that the plan does not rely on it.
func (p *planner) canShareBlocks(dir string) bool {
	return p.isOnStorePool(dir) && p.isCloningPool()
}

// isCloningPool reports whether the store's pool lets files share blocks.
func (p *planner) isCloningPool() bool {
	enabled, err := zfs.ModuleParam("zfs_bclone_enabled")
	if err != nil || enabled != "1" {
		return false
	}
	z, err := zfs.Open()
	if err != nil {
		return false
	}
	can, err := z.PoolFeature(p.storePool(), blockCloning)
	return errors.Join(err, z.Close()) == nil && can
}

// measureWritable adds up what a writable layer has changed, and adds an obstacle when
// that exceeds the container's limit.
func (p *planner) measureWritable(s source, it item, layer *tree) error {
	found, err := p.compareWithParent(s, it, layer)
	if err != nil {
		return fmt.Errorf("layer %s of container %.12s: %w", it.id, it.owner, err)
	}
	p.plan.Bytes += found.Allocated
	p.sizes[it.id] = found.Allocated
	p.noteFlags(it, layer, found.Changes)
	limit, ok := it.limit["size"]
	if !ok {
		return nil
	}
	most, err := quota.ParseBytes("size", limit)
	if err != nil {
		p.plan.addObstacle("container %.12s: %v", it.owner, err)
	} else if uint64(found.Allocated) > most {
		p.plan.addObstacle("container %.12s has changed %d bytes, more than its limit of %d: delete some files, or commit the container and remove it", it.owner, found.Allocated, most)
	}
	return nil
}

// compareWithParent returns what a writable layer has changed. Where the layer shows its
// whole tree, that is the difference to its parent; content is not read for a
// measurement, because few changes hide from size and times.
func (p *planner) compareWithParent(s source, it item, layer *tree) (found treediff.Result, err error) {
	if s.isUpperOnly() || it.parent == "" {
		return treediff.Trees(context.Background(), layer.File, nil)
	}
	below, err := s.openLayer(it.parent)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, below.Close()) }()
	if isCloningDriver(p.plan.Job.From) {
		return treediff.Exact(context.Background(), layer.File, below.File, true)
	}
	return treediff.Trees(context.Background(), layer.File, below.File)
}

// checkSpace adds an obstacle when the layers do not fit into the store's pool.
func (p *planner) checkSpace() error {
	dataset := p.Dataset
	if dataset == "" {
		var err error
		if dataset, err = zfs.DatasetOf(p.Root); err != nil {
			return fmt.Errorf("the plugin has no dataset, and the data-root is not on ZFS: %w; set overlayzfs.dataset with `docker plugin set` while dockerd runs", err)
		}
	}
	return p.checkDatasetSpace(dataset)
}

// checkDatasetSpace is checkSpace for a dataset.
func (p *planner) checkDatasetSpace(dataset string) error {
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	stats, err := z.DatasetStats(dataset)
	if err := errors.Join(err, z.Close()); err != nil {
		return err
	}
	p.plan.Available = stats.Available()
	p.compareSpace(dataset)
	return nil
}

// checkDirSpace is checkSpace for a directory on any file system.
func (p *planner) checkDirSpace(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	p.plan.Available = st.Bavail * uint64(st.Bsize)
	p.compareSpace(dir)
	return nil
}

// compareSpace adds an obstacle when the copies need more than the available space.
// Copies that share blocks need next to none.
func (p *planner) compareSpace(where string) {
	need, shared := p.plan.Bytes, p.plan.Job.Share && !p.plan.Job.Reclaim
	if p.hasReclaimEffect() {
		need = peakUsage(p.items, p.sizes, maxParallel())
	}
	if uint64(need) > p.plan.Available && !shared {
		advice := ", or, on the same pool, delete old layers during the copy with --reclaim"
		if p.ImageStore != nil {
			advice = "" // an Import has no --reclaim
		}
		p.plan.addObstacle("the copy needs up to %d bytes, and %s has %d available: free some space%s", need, where, p.plan.Available, advice)
	}
}

// maxParallel returns the number of layers that are copied at a time.
func maxParallel() int { return 2 * runtime.GOMAXPROCS(0) }
