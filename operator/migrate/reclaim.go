package migrate

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// checkReclaim says when --reclaim is of no use, or comes too late: what a run before
// has copied as it is, is only compared at the end.
func (p *planner) checkReclaim() {
	j := &p.plan.Job
	switch {
	case !p.Reclaim || j.Reclaim:
	case j.Method == Copy:
		p.plan.addObstacle("the migration was begun without --reclaim, and goes on without: leave it out, or go back with --undo and begin again with it")
	default:
		p.plan.Notes = append(p.plan.Notes, "nothing is copied, so --reclaim has nothing to delete, and the migration can be undone")
	}
}

// hasReclaimEffect reports whether old layers that are deleted make room for new ones.
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

// peakUsage is the most that is there at a time when an old layer is deleted as soon as all
// that stand on it are carried, some at a time.
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

// reclaimSource deletes the old layer when it and all that stands on it are carried,
// and then perhaps the one below. That it is going is noted first.
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

func (c *carrier) deleteSource(ctx context.Context, id string) error {
	if !slices.Contains(c.job.Reclaimed, id) {
		c.job.Reclaimed = append(c.job.Reclaimed, id)
		if err := c.job.saveDurably(ctx, c.root); err != nil {
			return err
		}
	}
	err := c.source.deleteLayer(ctx, id)
	if errors.Is(err, fault.Busy) {
		return nil // a build's cache stands on it; it goes in the end
	}
	return err
}

// removeAll removes layers. One that others stand on waits for those: it is not
// always known which stands on which.
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
