package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Undo reverts an unfinished migration.
func Undo(ctx context.Context, root string, tools Tools) error {
	return runLocked(root, tools, func(r *dataRoot) error {
		j, err := readAllowedJob(r, ActionUndo, tools)
		if err != nil {
			return err
		}
		return markUnfinished(j.undo(ctx, r, tools))
	})
}

func (j *Job) undo(ctx context.Context, r *dataRoot, tools Tools) error {
	if err := j.enterPhase(r, Undoing); err != nil {
		return err
	}
	if err := j.restoreConfig(); err != nil {
		return err
	}
	for _, s := range slices.Backward(j.recordSteps(ctx, r)) {
		if err := s.undo(); err != nil {
			return fmt.Errorf("undo: %s: %w", s.name, err)
		}
	}
	if err := j.saveDurably(ctx, r); err != nil {
		return err
	}
	if j.Method == Import {
		if err := j.takeBack(ctx, r); err != nil {
			return fmt.Errorf("%w; Docker's records are restored, so that dockerd can start with the driver %s; run `overlayzfs migrate --undo` once more later, with dockerd stopped, to delete what was made in the image store", err, j.From)
		}
	}
	if j.Method == Copy && j.StoreWasEmpty {
		if err := j.deleteCarried(ctx, r, tools); err != nil {
			return err
		}
	}
	return j.removeJournal(ctx, r)
}

// takeBack deletes what an Import made in containerd. Docker's records name none of it any more.
func (j *Job) takeBack(ctx context.Context, r *dataRoot) error {
	if err := j.connect(ctx); err != nil {
		return err
	}
	defer j.disconnect()
	if err := j.nameImages(ctx).undo(); err != nil {
		return err
	}
	return j.deleteImported(ctx, r)
}

// deleteCarried removes every layer from the store, which was empty before the job.
func (j *Job) deleteCarried(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	store, closeStore, err := j.openTarget(ctx, r, tools)
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
