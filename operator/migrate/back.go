package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// planBack chooses the method by which layers get from the store to a built-in driver.
func (p *planner) planBack() error {
	j := &p.plan.Job
	j.Dataset = p.Dataset
	if p.Dataset == "" {
		home, err := filepath.Rel(p.Root, p.Home)
		if err != nil {
			return err
		}
		j.Layers = home
	}
	if j.To == "zfs" {
		return p.planBackToZFS()
	}
	p.refuseLimits()
	j.Target = overlay2Dir
	dir := filepath.Join(p.Root, overlay2Dir)
	if mounts, err := mount.ListAt(dir); err != nil {
		return err
	} else if len(mounts) > 0 {
		p.plan.addObstacle("%s is a mount point, and layers cannot be renamed into it: unmount it", dir)
	}
	if linked, err := p.root.isSymlink(overlay2Dir); err != nil {
		return err
	} else if linked {
		p.plan.addObstacle("%s is a symlink, and layers cannot be renamed into it: remove the symlink", dir)
	}
	if p.Dataset != "" {
		return p.planCopyBack()
	}
	return p.planMoveBack()
}

// refuseLimits adds an obstacle for each container with a limit.
func (p *planner) refuseLimits() {
	for _, it := range p.items {
		if p.hasLimit(it) {
			p.plan.addObstacle("container %.12s has a limit, which overlay2 on ZFS cannot enforce: commit it and remove it", it.owner)
		}
	}
}

// hasLimit reports whether a layer has a limit: the container's own, or the plugin's
// default, which Docker's records do not contain.
func (p *planner) hasLimit(it item) bool {
	return len(it.limit) > 0 || slices.ContainsFunc(p.storeLayers, func(l overlayzfs.LayerInfo) bool { return l.ID == it.id && l.Limit != nil })
}

// planMoveBack plans to rename the store's directory.
func (p *planner) planMoveBack() error {
	p.plan.Job.Method = Move
	view, err := overlayzfs.OpenHomeReadOnly(p.Home)
	if err != nil {
		return err
	}
	return errors.Join(p.refuseRemoving(view), p.checkAdoptable(view, p.Home, p.Home), view.Close())
}

// refuseRemoving adds an obstacle while the store still deletes removed layers. After
// the migration nothing would continue the deletion.
func (p *planner) refuseRemoving(view *overlayzfs.StoreView) error {
	removing, err := view.CountRemoving()
	if removing > 0 {
		p.plan.addObstacle("the store is still deleting %d removed layers: run `overlayzfs gc` first", removing)
	}
	return err
}

// planCopyBack plans to copy layers out of the store's dataset. Mounting the dataset on
// overlay2's directory would not do, because the driver unmounts it when it stops.
func (p *planner) planCopyBack() error {
	j := &p.plan.Job
	j.Method, j.Share = Copy, p.canShareBlocks(p.Root)
	for _, it := range p.items {
		if it.depth > maxOverlay2Lowers {
			p.plan.addObstacle("layer %s has %d layers below it, and overlay2 stacks at most %d", it.id, it.depth-1, maxOverlay2Lowers)
		}
	}
	if err := p.checkLayersPresent(); err != nil {
		return err
	}
	return p.checkDirSpace(p.Root)
}

// planBackToZFS plans to create one dataset for each layer.
func (p *planner) planBackToZFS() (err error) {
	j := &p.plan.Job
	j.Method = Copy
	if j.ZFSDataset = p.ZFSDataset; j.ZFSDataset == "" {
		if j.ZFSDataset, err = zfs.DatasetOf(p.Root); err != nil {
			return fmt.Errorf("find a dataset for the zfs driver: %w; name one with --zfs-dataset", err)
		}
	}
	for _, it := range p.items {
		if err := setQuota(zfs.Properties{}, it.limit); err != nil {
			p.plan.addObstacle("container %.12s: %v; commit it and remove it", it.owner, err)
		}
		if len(it.limit) == 0 && p.hasLimit(it) {
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("container %.12s loses the plugin's default limit", it.owner))
		}
	}
	if err := p.checkLayersPresent(); err != nil {
		return err
	}
	return p.checkDatasetSpace(j.ZFSDataset)
}

// checkBackDriver fails when there is no way back to the driver.
func checkBackDriver(driver string) error {
	if driver != overlay2Dir && driver != "zfs" {
		return fault.New(fault.Invalid, "cannot migrate back to %q: use overlay2 or zfs", driver)
	}
	return nil
}

// checkUndoInPlace adds obstacles to the undo of a migration in place. Layers made since
// then are handed back too, so the undo checks what a migration back checks.
func (p *planner) checkUndoInPlace() error {
	j := &p.plan.Job
	moved := j.Phase == Configuring || j.Phase == Done
	if p.Action != ActionUndo || j.keepsOld() || !moved || p.records.Driver != j.To {
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

// checkUndoDir adds the obstacles for the layers in one directory.
func (p *planner) checkUndoDir(dir string) (err error) {
	view, err := overlayzfs.OpenHomeReadOnly(dir)
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
