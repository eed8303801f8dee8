package migrate

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// returnable notes why renamed layers cannot be what they were again: what was made
// since comes along, so an undo asks what the other way would.
func (p *planner) returnable() error {
	j := &p.plan.Job
	moved := j.Phase == Configuring || j.Phase == Done
	if p.Action != Backward || j.Way == Copy || !moved || p.records.Driver != j.To {
		return nil
	}
	if j.Way == Move {
		return p.returnableFrom(filepath.Join(p.Root, j.Target))
	}
	root, err := zfs.OpenDatasetReadOnly(j.Dataset)
	if err != nil {
		return err
	}
	return errors.Join(p.returnableFrom(fmt.Sprintf("/proc/self/fd/%d", root.Fd())), root.Close())
}

// returnableFrom does that for layers in a directory.
func (p *planner) returnableFrom(dir string) (err error) {
	view, err := overlayzfs.ViewHome(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if p.held, err = view.Layers(); err != nil {
		return err
	}
	if err := p.adoptable(view, dir, dir); err != nil || p.plan.Job.back() {
		return err
	}
	p.unlimited()
	return p.nothingRemoving(view)
}
