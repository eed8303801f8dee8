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
	return within(root, tools, func(r *dataRoot) error {
		j, err := allowedJob(r, Ending, tools)
		if err == nil {
			err = refused(j.oldUnneeded(ctx, r, tools))
		}
		if err != nil {
			return err
		}
		return begun(j.finish(ctx, r))
	})
}

// refused makes an obstacle of what keeps a job from being begun.
func refused(err error) error {
	if fault.ClassOf(err) == fault.Invalid {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// ErrRefused is of an action that changed nothing, for what there is speaks against it.
var ErrRefused = errors.New("refused, and nothing was changed")

func (j *Job) finish(ctx context.Context, r *dataRoot) error {
	j.Phase = Finishing
	if err := j.settle(ctx, r); err != nil {
		return err
	}
	if j.Way == Copy {
		if err := j.dropOld(ctx, r); err != nil {
			return err
		}
	}
	return j.forget(ctx, r)
}

// dropOld deletes the layers that were carried, then the records of them.
func (j *Job) dropOld(ctx context.Context, r *dataRoot) (err error) {
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
	from, closeSource, err := j.newSource(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	ids, err := oldLayers(records, r)
	if err != nil {
		return err
	}
	if err := removeAll(ctx, ids, from.discard); err != nil {
		return err
	}
	if err := from.clear(ctx); err != nil {
		return err
	}
	return r.RemoveAll(imageDir(j.From))
}

// noOptions is for itemsOf where limits do not matter.
func noOptions(string) (map[string]string, error) { return nil, nil }

// oldLayers are all that Docker knows under the old driver, those that stand on
// others first, BuildKit's cache before all.
func oldLayers(records *dockerstore.Records, r *dataRoot) ([]string, error) {
	items, err := itemsOf(records, noOptions)
	if err != nil {
		return nil, err
	}
	var ids []string
	aside, err := buildsAside(r)
	if err != nil {
		return nil, err
	}
	known := byID(items)
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

// buildsAside are the layers that BuildKit's records name that were set aside.
func buildsAside(r *dataRoot) ([]string, error) {
	there, err := r.exists(buildsName + "/snapshots.db")
	if err != nil || !there {
		return nil, err
	}
	return dockerstore.Builds(r.Name() + "/" + buildsName + "/snapshots.db")
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
