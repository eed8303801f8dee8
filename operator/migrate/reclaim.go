package migrate

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// checkReclaim refuses --reclaim for a job that was started without it, because copies
// of an earlier run are verified only at the end. It notes when --reclaim has no effect.
func (p *planner) checkReclaim() {
	j := &p.plan.Job
	switch {
	case !p.Reclaim || j.Reclaim:
	case j.Method == Copy:
		p.plan.addObstacle("--reclaim cannot be added to a started migration: omit it, or revert the migration with --undo and start again with it")
	default:
		p.plan.Notes = append(p.plan.Notes, "--reclaim has no effect, because no layer is copied; the migration can be undone")
	}
}

// hasReclaimEffect reports whether deleting old layers frees space for the copies.
func (p *planner) hasReclaimEffect() bool {
	j := &p.plan.Job
	if !j.Reclaim {
		return false
	}
	if j.From == "zfs" {
		return zfs.PoolOf(j.ZFSDataset) == p.storePool()
	}
	return p.isOnStorePool(filepath.Join(p.Root, j.From))
}

// peakUsage returns the most space that copies take at a time when an old layer is
// deleted as soon as all its children are copied, atOnce layers at a time.
func peakUsage(items []item, sizes map[string]int64, atOnce int) (most int64) {
	waiting, known := map[string]int{}, indexByID(items)
	for _, it := range items {
		waiting[it.parent]++
	}
	var now int64
	for i, it := range items {
		now += sizes[it.id]
		most = max(most, now)
		if i+1 < atOnce {
			continue
		}
		carried, ok := items[i+1-atOnce], true
		for ok && waiting[carried.id] == 0 {
			now -= sizes[carried.id]
			waiting[carried.parent]--
			carried, ok = known[carried.parent]
		}
	}
	return most
}

// reclaimSource deletes an old layer once it and all its children are copied, and then
// its parent, if that has no other children left.
func (c *carrier) reclaimSource(ctx context.Context, it item, items map[string]item) error {
	if !c.job.Reclaim {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ok := true; ok && c.childrenLeft[it.id] == 0; it, ok = items[it.parent] {
		if err := c.deleteSource(ctx, it.id); err != nil {
			return err
		}
		c.childrenLeft[it.parent]--
	}
	return nil
}

// deleteSource deletes one old layer. The journal records that first.
func (c *carrier) deleteSource(ctx context.Context, id string) error {
	if !slices.Contains(c.job.Reclaimed, id) {
		c.job.Reclaimed = append(c.job.Reclaimed, id)
		if err := c.job.saveDurably(ctx, c.root); err != nil {
			return err
		}
	}
	err := c.source.deleteLayer(ctx, id)
	if errors.Is(err, fault.Busy) {
		return nil // build cache has it as a parent; Finish deletes it
	}
	return err
}

// removeAll removes layers in rounds. A layer that is busy because of its children is
// tried again after them: the parent of a layer is not always known.
func removeAll(ctx context.Context, ids []string, remove func(ctx context.Context, id string) error) error {
	for {
		var busy []string
		var why []error
		for _, id := range ids {
			err := remove(ctx, id)
			switch {
			case errors.Is(err, fault.Busy):
				busy, why = append(busy, id), append(why, err)
			case err != nil:
				return err
			}
		}
		if len(busy) == 0 {
			return nil
		}
		if len(busy) == len(ids) {
			return errors.Join(why...)
		}
		ids = busy
	}
}
