package migrate

import (
	"path"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// startJob writes the journal of a new job, when the places that it wants are free.
func (j *Job) startJob(r *dataRoot, tools Tools) (err error) {
	if j.Phase != "" {
		return nil
	}
	// Without a journal what is there is nobody's, and no undo's.
	if err := r.RemoveAll(workDir); err != nil {
		return err
	}
	if err := r.removeEmptyRecords(j.To); err != nil {
		return err
	}
	if err := j.clearTarget(r); err != nil {
		return err
	}
	j.Phase = Switching
	if j.Method == Copy {
		j.Phase = Carrying
		if j.Token, err = tools.Token(); err != nil {
			return err
		}
	}
	return j.save(r)
}

// clearTarget removes the directory that layers are to have, when it holds none.
func (j *Job) clearTarget(r *dataRoot) error {
	if j.Target == "" {
		return nil
	}
	empty, err := r.hasNoLayers(j.Target)
	if err != nil {
		return err
	}
	if !empty {
		return fault.New(fault.Exists, "there are layers in %s already", path.Join(r.Name(), j.Target))
	}
	return r.RemoveAll(j.Target)
}
