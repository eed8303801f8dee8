package migrate

import (
	"context"
	"path"
	"slices"
)

// step is one change of Docker's records. Both directions can be repeated after they
// were done in whole or in part.
type step struct {
	name     string
	do, undo func() error
}

// recordSteps returns the changes of Docker's records in order. dockerd loses nothing
// when the last step is missing.
func (j *Job) recordSteps(ctx context.Context, r *dataRoot) []step {
	switch j.Method {
	case Import:
		names := j.nameImages(ctx)
		names.undo = func() error { return nil } // takeBack does it, when Docker's records are restored
		return []step{names, j.setBuildsAside(r), j.switchContainers(ctx, r)}
	case Copy:
		return []step{j.copyRecords(r), j.setBuildsAside(r), j.nameDriver(r)}
	case Stay:
		return []step{j.renameRecords(r), j.nameDriver(r)}
	}
	return []step{j.renameRecords(r), j.renameLayers(r), j.nameDriver(r)}
}

func (j *Job) renameRecords(r *dataRoot) step {
	from, to := imageDir(j.From), imageDir(j.To)
	return step{
		"rename records of images",
		func() error { return r.moveOnce(from, to, r.hasNoRecords) },
		func() error { return r.moveOnce(to, from, r.hasNoRecords) },
	}
}

func (j *Job) renameLayers(r *dataRoot) step {
	return step{
		"rename layers",
		func() error { return r.moveOnce(j.Layers, j.Target, r.hasNoLayers) },
		func() error { return r.moveOnce(j.Target, j.Layers, r.hasNoLayers) },
	}
}

func (j *Job) copyRecords(r *dataRoot) step {
	return step{
		"copy records of images",
		func() error { return r.copyRecords(j) },
		func() error { return r.RemoveAll(imageDir(j.To)) },
	}
}

func (j *Job) setBuildsAside(r *dataRoot) step {
	return step{"set BuildKit's cache aside", r.setBuildsAside, r.restoreBuilds}
}

// nameDriver writes the new driver into containers' records. After a copy the undo
// changes only containers that have a layer in the old driver. It sets the others aside,
// which were created since: their layers go, and dockerd cannot load them.
func (j *Job) nameDriver(r *dataRoot) step {
	all := func(string) (bool, error) { return true, nil }
	known := j.hasOldLayer(r)
	if j.Method != Copy {
		known = all
	}
	return step{
		"name the driver in containers' records",
		func() error { return r.setDrivers(j.From, j.To, all, nil) },
		func() error {
			if err := r.setDrivers(j.To, j.From, known, nil); err != nil || j.Method != Copy {
				return err
			}
			return r.setContainersAside(j.To, known, nil)
		},
	}
}

// hasOldLayer returns whether a container has a layer in the old driver.
func (j *Job) hasOldLayer(r *dataRoot) func(id string) (bool, error) {
	return func(id string) (bool, error) {
		names, err := r.listNames(path.Join(imageDir(j.From), "layerdb/mounts"))
		return slices.Contains(names, id), err
	}
}

// hasNoLayers reports whether a directory holds only what a driver creates at its start.
func (r *dataRoot) hasNoLayers(dir string) (bool, error) {
	names, err := r.listNames(dir)
	for _, name := range names {
		if name != "l" && name != ".overlayzfs" {
			return false, err
		}
	}
	return true, err
}
