package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// planResume plans what remains of a started migration.
func (p *planner) planResume() error {
	p.checkDockerdStopped()
	if p.Action == ActionMigrate {
		p.checkSameJob()
		p.checkReclaim()
	}
	if err := p.plan.Job.checkAction(p.Action); err != nil {
		p.plan.addObstacle("%v", err)
	} else if p.Action == ActionFinish {
		if err := p.plan.Job.checkOldUnused(p.root); err != nil {
			p.plan.addObstacle("%v", err)
		}
		if err := p.reportMountedSource(); err != nil {
			return err
		}
	}
	both, err := p.readBothRecords()
	if err != nil || len(both) == 0 {
		return err
	}
	p.records = both[0]
	if p.Action == ActionMigrate && p.records.Driver == p.plan.Job.From {
		if err := p.planSkip(); err != nil {
			return err
		}
		p.noteSkipped()
	}
	return errors.Join(p.countBothRecords(both), p.reportUndoLosses(), p.checkUndoInPlace())
}

// readBothRecords returns the existing records of the old driver and of the new one.
func (p *planner) readBothRecords() (both []*dockerstore.Records, err error) {
	for _, driver := range slices.Compact([]string{p.plan.Job.From, p.plan.Job.To}) {
		records, err := p.docker.Read(driver)
		if err == nil {
			both = append(both, records)
		} else if !errors.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return both, nil
}

// countBothRecords counts images, layers and containers during a migration. Images and
// layers count by the new driver's records once these are complete. Containers count
// under both, because each belongs to the driver that its own record names.
func (p *planner) countBothRecords(both []*dockerstore.Records) error {
	err := p.countRecords()
	now := both[len(both)-1]
	if phase := p.plan.Job.Phase; (phase == Done || phase == Finishing) && now != p.records {
		items, wrong := listItems(now, noOptions)
		p.plan.Driver, p.plan.Images, p.plan.Layers = now.Driver, len(now.Images), len(items)
		err = errors.Join(err, wrong)
	}
	p.plan.Containers = 0
	for _, records := range both {
		p.plan.Containers += len(records.Containers)
	}
	if p.plan.Job.Method == Import && !p.plan.Job.keepsDriverName() {
		switched, _, wrong := p.docker.Containers(p.plan.Job.To)
		p.plan.Containers += len(switched)
		err = errors.Join(err, wrong)
	}
	return err
}

// checkSameJob adds an obstacle when the request differs from the started migration.
func (p *planner) checkSameJob() {
	j, driver := &p.plan.Job, p.plan.Job.To
	if j.isBack() {
		driver = j.From
	}
	if p.Back != j.isBack() || (p.ImageStore != nil) != (j.Method == Import) || p.From != "" && p.From != j.From || p.To != "" && p.To != j.To || p.Driver != driver {
		p.plan.addObstacle("another migration is under way, from %s to %s: continue it with `%s`, or revert it with --undo", j.From, j.To, j.resumeCommand())
	}
}

// resumeCommand returns the command that continues the job.
func (j *Job) resumeCommand() string {
	if j.isBack() {
		return fmt.Sprintf("overlayzfs migrate --back --to %s --driver %s", j.To, j.From)
	}
	if j.Method == Import {
		return fmt.Sprintf("overlayzfs migrate --to snapshotter --from %s --driver %s", j.From, j.To)
	}
	return fmt.Sprintf("overlayzfs migrate --from %s --driver %s", j.From, j.To)
}

// reportMountedSource tells the operator when the directory of the old layers is a mount
// point, which Finish cannot remove.
func (p *planner) reportMountedSource() error {
	j := p.plan.Job
	if !j.keepsOld() || j.isFromStore() {
		return nil
	}
	dir := filepath.Join(p.Root, j.From)
	mounts, err := mount.ListAt(dir)
	if len(mounts) > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("%s is a mount point: its content is deleted, and the directory stays", dir))
	}
	return err
}

// reportUndoLosses tells the operator what an undo deletes: images and containers made
// after the copy.
func (p *planner) reportUndoLosses() error {
	if p.Action == ActionUndo && p.plan.Job.Method == Import {
		return p.reportImportLosses()
	}
	if p.Action != ActionUndo || p.plan.Job.Method != Copy || p.records.Driver != p.plan.Job.From {
		return nil
	}
	now, err := p.docker.Read(p.plan.Job.To)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	images, mounts := 0, 0
	for _, image := range now.Images {
		if !slices.ContainsFunc(p.records.Images, func(old dockerstore.Image) bool { return old.ID == image.ID }) {
			images++
		}
	}
	for _, m := range now.Mounts {
		if !slices.ContainsFunc(p.records.Mounts, func(old dockerstore.Mount) bool { return old.Name == m.Name }) {
			mounts++
		}
	}
	if images+mounts > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("the undo deletes what was made since the migration: %d images, %d containers", images, mounts))
	}
	return nil
}

// readAllowedJob reads the journal and checks that its phase allows the action.
func readAllowedJob(r *dataRoot, a Action, tools Tools) (*Job, error) {
	j, err := readJob(r)
	if err == nil && j == nil {
		err = errNoJob
	}
	if err != nil {
		return nil, err
	}
	j.applyLeaveConfig(tools)
	return j, j.checkAction(a)
}

// applyLeaveConfig makes the job leave daemon.json unchanged if the operator asked for it.
func (j *Job) applyLeaveConfig(tools Tools) {
	if tools.LeaveConfig {
		j.Config = ""
	}
}

// errNoJob is returned when an action needs a started migration and there is none.
var errNoJob = fault.New(fault.NotFound, "no migration is under way: use `overlayzfs migrate --back` to migrate from the plugin to overlay2 or zfs")

// checkAction fails for an action that the phase does not allow.
func (j *Job) checkAction(a Action) error {
	switch {
	case a == ActionUndo && j.Phase == Finishing:
		return fault.New(fault.Unsupported, "cannot undo: the old layers are being deleted; continue with `overlayzfs migrate --finish`")
	case a == ActionUndo && len(j.Reclaimed) > 0:
		return fault.New(fault.Unsupported, "cannot undo: --reclaim has deleted old layers; complete the migration, and run `overlayzfs migrate --back` afterwards")
	case a != ActionUndo && j.Phase == Undoing:
		return fault.New(fault.Interrupted, "an undo was interrupted: continue it with `overlayzfs migrate --undo`")
	case a == ActionFinish && j.Phase != Done && j.Phase != Finishing:
		return fault.NewWithRemedy(fault.Busy, "the migration is not complete: continue it with `%s`", j.resumeCommand())
	case a == ActionMigrate && j.Phase == Done:
		return fault.New(fault.Exists, "the migration to %s is complete: finish it with `overlayzfs migrate --finish`, or revert it with `overlayzfs migrate --undo`", j.To)
	case a == ActionMigrate && j.Phase == Finishing:
		return fault.New(fault.Interrupted, "finishing a migration was interrupted: continue with `overlayzfs migrate --finish`")
	}
	return nil
}
