package migrate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
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

// checkOldUnneeded makes sure, before the old layers are deleted, that nobody went back to
// them, and that the new ones are there and were used.
func (j *Job) checkOldUnneeded(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	if err := j.checkOldUnused(r); err != nil || j.Method != Copy {
		return err
	}
	if err := j.checkTried(tools); err != nil {
		return err
	}
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.To)
	if err != nil {
		return err
	}
	return j.checkAllCarried(ctx, r, records, tools)
}

// checkOldUnused looks for traces of the old driver's use since the migration.
func (j *Job) checkOldUnused(r *dataRoot) error {
	if err := j.checkConfigured(); err != nil || j.Method != Copy {
		return err
	}
	drivers, err := r.containerDrivers()
	if err != nil {
		return err
	}
	if id, ok := drivers[j.From]; ok {
		return fault.New(fault.Invalid, "container %.12s is of the driver %s, whose layers are to be deleted: it was made since the migration. Remove it with that driver, or go back with --undo", id, j.From)
	}
	names, err := r.recordNames(imageDir(j.From))
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(j.Old, name) {
			return fault.New(fault.Invalid, "%s was made since the migration, so the driver %s was used, whose layers are to be deleted: go back with --undo, and migrate again", path.Join(r.Name(), imageDir(j.From), name), j.From)
		}
	}
	return nil
}

// checkConfigured makes sure that daemon.json has dockerd use the new driver.
func (j *Job) checkConfigured() error {
	if j.Config == "" {
		return nil
	}
	c, err := dockerconf.Read(j.Config)
	if err != nil || c.StorageDriver == j.To {
		return err
	}
	got := "no driver"
	if c.StorageDriver != "" {
		got = strconv.Quote(c.StorageDriver)
	}
	return fault.New(fault.Invalid, "%s names %s, and the layers of the driver %s are to be deleted: say %s there, or go back with --undo; say --leave-config when dockerd's command line names it", j.Config, got, j.From, j.To)
}

// checkTried makes sure that an engine has run on the plugin's store since layers were
// carried there, and since they were carried from there that none has.
func (j *Job) checkTried(tools Tools) error {
	if tools.Untried {
		return nil
	}
	token, err := tools.Token()
	switch {
	case err != nil:
		return err
	case j.isBack() && token != j.Token:
		return fault.New(fault.Invalid, "dockerd has run with the driver %s since layers were carried from it: go back with --undo; --untried deletes its records all the same", j.From)
	case !j.isBack() && token == j.Token:
		return fault.New(fault.Invalid, "dockerd has not run with the driver %s since the migration: start it and see that all is well; --untried deletes the old layers all the same", j.To)
	}
	return nil
}

// checkAllCarried makes sure that every layer which Docker has recorded is where it was
// carried to.
func (j *Job) checkAllCarried(ctx context.Context, r *dataRoot, records *dockerstore.Records, tools Tools) (err error) {
	items, err := listItems(records, noOptions)
	if err != nil {
		return err
	}
	store, closeStore, err := j.openTarget(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	layers, err := store.Layers(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(layers))
	for _, id := range layers {
		there[id] = true
	}
	for _, it := range items {
		if !there[it.id] {
			return fault.New(fault.NotFound, "layer %s, which Docker has recorded, is not where layers were carried to: nothing is deleted. Go back with --undo, or remove what has the layer", it.id)
		}
	}
	return nil
}
