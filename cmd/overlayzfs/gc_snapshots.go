package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// containerdEngine is the engine of a snapshotter's store in a plan.
const containerdEngine = "containerd"

// removeSnapshots decides again while containerd cannot start, and removes the snapshots
// that both plans have. It returns the layers that are gone then.
func (f *gcFlags) removeSnapshots(ctx context.Context, c console, agreed gc.Plan) (removed []string, err error) {
	err = f.readStore(func(s *inventory.Source) (err error) {
		if s.Root != nil {
			lock, err := s.Root.Lock()
			if err != nil {
				return refuseRunning(s, err)
			}
			defer lock.Close()
		}
		if err := s.Reread(); err != nil { // containerd may have run before it was locked out
			return err
		}
		plan, err := gc.Examine(s, false)
		if err == nil {
			err = checkObstacles(plan)
		}
		if err != nil {
			return err
		}
		err = f.removeAgreed(ctx, c, s, plan.Intersect(agreed).Snapshots)
		var listErr error
		removed, listErr = findRemoved(s, agreed.Layers)
		return errors.Join(err, listErr)
	})
	if err != nil && len(removed) > 0 {
		err = fmt.Errorf("%d of %d layers are removed: %w: %w", len(removed), len(agreed.Layers), err, errUnfinished)
	}
	return removed, err
}

// removeAgreed opens the store, and removes snapshots.
func (f *gcFlags) removeAgreed(ctx context.Context, c console, s *inventory.Source, names []string) error {
	store, err := gc.OpenSnapshots(ctx, s.Where)
	if err != nil {
		return refuseRunning(s, err)
	}
	step, done := c.showProgress("removing snapshots", int64(len(names)))
	defer done()
	_, err = store.Remove(ctx, names, func() { step(1) })
	return errors.Join(err, store.Close())
}

// findRemoved returns those of the layers that the store lacks.
func findRemoved(s *inventory.Source, layers []inventory.Layer) (removed []string, err error) {
	seen, err := s.View.Layers()
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, l := range seen {
		there[l.ID] = true
	}
	for _, l := range layers {
		if !there[l.ID] {
			removed = append(removed, l.ID)
		}
	}
	return removed, nil
}

// openSnapshots opens the store as the snapshotter does, and closes it.
func (f *gcFlags) openSnapshots(ctx context.Context) error {
	return f.readStore(func(s *inventory.Source) error {
		store, err := gc.OpenSnapshots(ctx, s.Where)
		if err != nil {
			return refuseRunning(s, err)
		}
		return store.Close()
	})
}
