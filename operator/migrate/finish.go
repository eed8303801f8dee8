package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Finish deletes what undoing a migration would need.
func Finish(ctx context.Context, root string, tools Tools) error {
	return withDataRoot(root, tools, func(r *dataRoot) error {
		j, err := readAllowedJob(r, ActionFinish, tools)
		if err == nil {
			err = markRefused(j.checkOldUnneeded(ctx, r, tools))
		}
		if err != nil {
			return err
		}
		return markUnfinished(j.finish(ctx, r))
	})
}

// markRefused makes an obstacle of what keeps a job from being begun.
func markRefused(err error) error {
	if fault.ClassOf(err) == fault.Invalid {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// ErrRefused is of an action that changed nothing, for what there is speaks against it.
var ErrRefused = errors.New("refused, and nothing was changed")

func (j *Job) finish(ctx context.Context, r *dataRoot) error {
	j.Phase = Finishing
	if err := j.saveDurably(ctx, r); err != nil {
		return err
	}
	if j.Method == Copy {
		if err := j.deleteOld(ctx, r); err != nil {
			return err
		}
	}
	return j.removeJournal(ctx, r)
}

// deleteOld deletes the layers that were carried, then the records of them.
func (j *Job) deleteOld(ctx context.Context, r *dataRoot) (err error) {
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.From)
	if errors.Is(err, fault.NotFound) {
		return nil // the last to go is gone
	}
	if err != nil {
		return err
	}
	from, closeSource, err := j.openSource(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	ids, err := listOldLayers(records, r)
	if err != nil {
		return err
	}
	if err := removeAll(ctx, ids, from.deleteLayer); err != nil {
		return err
	}
	if err := from.deleteRest(ctx); err != nil {
		return err
	}
	return r.RemoveAll(imageDir(j.From))
}

// noOptions is for itemsOf where limits do not matter.
func noOptions(string) (map[string]string, error) { return nil, nil }

// listOldLayers are all that Docker knows under the old driver, those that stand on
// others first, BuildKit's cache before all.
func listOldLayers(records *dockerstore.Records, r *dataRoot) ([]string, error) {
	items, err := listItems(records, noOptions)
	if err != nil {
		return nil, err
	}
	var ids []string
	aside, err := listBuildsAside(r)
	if err != nil {
		return nil, err
	}
	known := indexByID(items)
	for _, id := range aside {
		if _, ok := known[id]; !ok {
			ids = append(ids, id)
		}
	}
	for _, it := range slices.Backward(items) {
		ids = append(ids, it.id)
	}
	return ids, nil
}

// listBuildsAside are the layers that BuildKit's records name that were set aside.
func listBuildsAside(r *dataRoot) ([]string, error) {
	there, err := r.exists(buildsName + "/snapshots.db")
	if err != nil || !there {
		return nil, err
	}
	return dockerstore.ReadBuildLayers(r.Name() + "/" + buildsName + "/snapshots.db")
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
