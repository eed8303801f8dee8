package migrate

import (
	"path"
	"slices"
)

// steps are the changes of Docker's records, in the order they are made. Until
// the last nothing was changed that dockerd would lose.
func (j *Job) steps(r *dataRoot) []step {
	switch j.Way {
	case Copy:
		return []step{j.copiedRecords(r), j.builds(r), j.containers(r)}
	case Stay:
		return []step{j.renamedRecords(r), j.containers(r)}
	}
	return []step{j.renamedRecords(r), j.renamedLayers(r), j.containers(r)}
}

func (j *Job) renamedRecords(r *dataRoot) step {
	from, to := imageDir(j.From), imageDir(j.To)
	return step{
		"rename records of images",
		func() error { return r.move(from, to, r.noRecords) },
		func() error { return r.move(to, from, r.noRecords) },
	}
}

func (j *Job) renamedLayers(r *dataRoot) step {
	return step{
		"rename layers",
		func() error { return r.move(j.Layers, j.Target, r.noLayers) },
		func() error { return r.move(j.Target, j.Layers, r.noLayers) },
	}
}

func (j *Job) copiedRecords(r *dataRoot) step {
	return step{
		"copy records of images",
		func() error { return r.copyRecords(j.From, j.To) },
		func() error { return r.RemoveAll(imageDir(j.To)) },
	}
}

func (j *Job) builds(r *dataRoot) step {
	return step{"set BuildKit's cache aside", r.setBuildsAside, r.bringBuildsBack}
}

// containers names the driver in containers' records. Back go those only that
// have a layer there.
func (j *Job) containers(r *dataRoot) step {
	all := func(string) bool { return true }
	known := func(id string) bool {
		names, err := r.names(path.Join(imageDir(j.From), "layerdb/mounts"))
		return err == nil && slices.Contains(names, id)
	}
	if j.Way != Copy {
		known = all
	}
	return step{
		"name the driver in containers' records",
		func() error { return r.setDrivers(j.From, j.To, all) },
		func() error { return r.setDrivers(j.To, j.From, known) },
	}
}

// noLayers reports whether a directory holds no layer: only what a driver makes at
// its start.
func (r *dataRoot) noLayers(dir string) (bool, error) {
	names, err := r.names(dir)
	for _, name := range names {
		if name != "l" && name != ".overlayzfs" {
			return false, err
		}
	}
	return true, err
}
