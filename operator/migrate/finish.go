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

// Finish deletes what an undo needs: the old layers and their records. It fails, and
// changes nothing, when the old layers were used again or the new ones never were.
func Finish(ctx context.Context, root string, tools Tools) error {
	return runLocked(root, tools, func(r *dataRoot) error {
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

// markRefused adds ErrRefused to an error of class fault.Invalid.
func markRefused(err error) error {
	if fault.ClassOf(err) == fault.Invalid {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// ErrRefused is in the error of an action that was refused before it changed anything.
var ErrRefused = errors.New("refused, and nothing was changed")

func (j *Job) finish(ctx context.Context, r *dataRoot) error {
	j.Phase = Finishing
	if err := j.saveDurably(ctx, r); err != nil {
		return err
	}
	if j.keepsOld() {
		if err := j.deleteOld(ctx, r); err != nil {
			return err
		}
	}
	return j.removeJournal(ctx, r)
}

// deleteOld deletes the old layers, then their records. The plugin's layers stay.
func (j *Job) deleteOld(ctx context.Context, r *dataRoot) error {
	if !j.isFromStore() {
		if err := j.deleteOldLayers(ctx, r); err != nil {
			return err
		}
	}
	return r.RemoveAll(imageDir(j.From))
}

func (j *Job) deleteOldLayers(ctx context.Context, r *dataRoot) (err error) {
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.From)
	if errors.Is(err, fault.NotFound) {
		return nil // the records are deleted last
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
	return from.deleteRest(ctx)
}

// noOptions is for listItems where limits do not matter.
func noOptions(string) (map[string]string, error) { return nil, nil }

// listOldLayers lists all layers that Docker knows under the old driver: BuildKit's cache
// first, then children before their parents.
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

// listBuildsAside lists the layers in the BuildKit records that were set aside.
func listBuildsAside(r *dataRoot) ([]string, error) {
	there, err := r.exists(buildsName + "/snapshots.db")
	if err != nil || !there {
		return nil, err
	}
	return dockerstore.ReadBuildLayers(r.Name() + "/" + buildsName + "/snapshots.db")
}

// checkOldUnneeded fails when the old layers may still be needed: they were used again,
// the new ones were never used, or one of those is missing.
func (j *Job) checkOldUnneeded(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	if err := j.checkOldUnused(r); err != nil || !j.keepsOld() {
		return err
	}
	if j.Method == Import {
		if err := j.checkPluginUnused(tools); err != nil {
			return err
		}
		return j.checkImported(ctx, r, tools)
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

// checkOldUnused fails when the old driver was used after the migration.
func (j *Job) checkOldUnused(r *dataRoot) error {
	if err := j.checkConfigured(); err != nil || !j.keepsOld() {
		return err
	}
	drivers, err := r.containerDrivers()
	if err != nil {
		return err
	}
	if id, ok := drivers[j.From]; ok && !j.keepsDriverName() {
		return fault.New(fault.Invalid, "cannot delete the layers of the driver %s: container %.12s was created with it after the migration; remove the container with that driver, or revert the migration with --undo", j.From, id)
	}
	names, err := r.recordNames(imageDir(j.From))
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(j.Old, name) {
			return fault.New(fault.Invalid, "cannot delete the layers of the driver %s: it created %s after the migration; revert the migration with --undo, and migrate again", j.From, path.Join(r.Name(), imageDir(j.From), name))
		}
	}
	return nil
}

// checkConfigured fails when daemon.json does not name the new driver.
func (j *Job) checkConfigured() error {
	if j.Config == "" {
		return nil
	}
	c, err := dockerconf.Read(j.Config)
	if err != nil {
		return err
	}
	if j.Method == Import && c.StorageDriver == j.To && !c.Features[containerdStore] {
		return fault.New(fault.Invalid, "cannot delete the layers of the driver %s: %s does not enable the feature %s; set it there, or revert the migration with --undo", j.From, j.Config, containerdStore)
	}
	if c.StorageDriver == j.To {
		return nil
	}
	got := "no driver"
	if c.StorageDriver != "" {
		got = strconv.Quote(c.StorageDriver)
	}
	return fault.New(fault.Invalid, "cannot delete the layers of the driver %s: %s names %s; set the driver %s there, revert the migration with --undo, or pass --leave-config if dockerd's command line sets the driver", j.From, j.Config, got, j.To)
}

// checkTried compares which engine used the store last. After a migration to the store
// an engine must have used it; after a migration from the store none may have.
func (j *Job) checkTried(tools Tools) error {
	if tools.Untried {
		return nil
	}
	token, err := tools.Token()
	switch {
	case err != nil:
		return err
	case j.isBack() && token != j.Token:
		return fault.New(fault.Invalid, "dockerd has run with the driver %s since its layers were copied: revert the migration with --undo, or delete the records anyway with --untried", j.From)
	case !j.isBack() && token == j.Token:
		return fault.New(fault.Invalid, "dockerd has not run with the driver %s since the migration: start it and check the containers, or delete the old layers anyway with --untried", j.To)
	}
	return nil
}

// checkAllCarried fails when the new store lacks a layer that Docker has recorded.
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
			return fault.New(fault.NotFound, "nothing was deleted: layer %s, which Docker has recorded, is missing in the new store; revert the migration with --undo, or remove the image or container that uses it", it.id)
		}
	}
	return nil
}
