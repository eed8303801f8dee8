package migrate

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// checkUndoInPlace notes why renamed layers cannot be what they were again: what was made
// since comes along, so an undo asks what the other way would.
func (p *planner) checkUndoInPlace() error {
	j := &p.plan.Job
	moved := j.Phase == Configuring || j.Phase == Done
	if p.Action != ActionUndo || j.Method == Copy || !moved || p.records.Driver != j.To {
		return nil
	}
	if j.Method == Move {
		return p.checkUndoDir(filepath.Join(p.Root, j.Target))
	}
	root, err := zfs.OpenDatasetReadOnly(j.Dataset)
	if err != nil {
		return err
	}
	return errors.Join(p.checkUndoDir(fmt.Sprintf("/proc/self/fd/%d", root.Fd())), root.Close())
}

// checkUndoDir does that for layers in a directory.
func (p *planner) checkUndoDir(dir string) (err error) {
	view, err := overlayzfs.ViewHome(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if p.storeLayers, err = view.Layers(); err != nil {
		return err
	}
	if err := p.checkAdoptable(view, dir, dir); err != nil || p.plan.Job.isBack() {
		return err
	}
	p.refuseLimits()
	return p.refuseRemoving(view)
}
