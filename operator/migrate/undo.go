package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Undo goes back to how things were before a migration that is not finished.
func Undo(ctx context.Context, root string, tools Tools) error {
	return within(root, tools, func(r *dataRoot) error {
		j, err := allowedJob(r, Backward, tools)
		if err != nil {
			return err
		}
		return begun(j.undo(ctx, r, tools))
	})
}

func (j *Job) undo(ctx context.Context, r *dataRoot, tools Tools) error {
	if err := j.enter(r, Undoing); err != nil {
		return err
	}
	if err := j.restoreConfig(); err != nil {
		return err
	}
	for _, s := range slices.Backward(j.steps(r)) {
		if err := s.undo(); err != nil {
			return fmt.Errorf("undo: %s: %w", s.name, err)
		}
	}
	if err := j.settle(ctx, r); err != nil {
		return err
	}
	if j.Way == Copy && j.Emptied {
		if err := j.dropCarried(ctx, r, tools); err != nil {
			return err
		}
	}
	return j.forget(ctx, r)
}

// dropCarried empties the store, which held nothing before.
func (j *Job) dropCarried(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	store, closeStore, err := j.open(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	layers, err := store.Layers(ctx)
	if err != nil {
		return err
	}
	if err := removeAll(ctx, layers, store.Remove); err != nil {
		return err
	}
	if err := store.WaitReaper(ctx); err != nil || j.To != overlay2Dir {
		return err
	}
	return r.RemoveAll(overlay2Dir)
}
