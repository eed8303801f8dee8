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

// planResume looks at a migration that was begun.
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
		if err := p.noteMountedSource(); err != nil {
			return err
		}
	}
	both, err := p.readBothRecords()
	if err != nil || len(both) == 0 {
		return err
	}
	p.records = both[0]
	return errors.Join(p.countBothRecords(both), p.noteUndoLosses(), p.checkUndoInPlace())
}

// readBothRecords are the records of the old driver and of the new one, as far as there are any.
func (p *planner) readBothRecords() (both []*dockerstore.Records, err error) {
	for _, driver := range []string{p.plan.Job.From, p.plan.Job.To} {
		records, err := p.docker.Read(driver)
		if err == nil {
			both = append(both, records)
		} else if !errors.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return both, nil
}

// countBothRecords counts what Docker has in the middle of a migration: once that is done, in
// the new driver's records. A container is the old driver's until its own record was
// switched, and the new one's then.
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
	return err
}

// checkSameJob refuses to go on with another migration than the one that is asked
// for.
func (p *planner) checkSameJob() {
	j, driver := &p.plan.Job, p.plan.Job.To
	if j.isBack() {
		driver = j.From
	}
	if p.Back != j.isBack() || p.From != "" && p.From != j.From || p.To != "" && p.To != j.To || p.Driver != driver {
		p.plan.addObstacle("another migration is under way, from %s to %s: `%s` goes on with it, and with --undo it is undone", j.From, j.To, j.resumeCommand())
	}
}

// resumeCommand is what goes on with a job.
func (j *Job) resumeCommand() string {
	if j.isBack() {
		return fmt.Sprintf("overlayzfs migrate --back --to %s --driver %s", j.To, j.From)
	}
	return fmt.Sprintf("overlayzfs migrate --from %s --driver %s", j.From, j.To)
}

// noteMountedSource notes that a directory of old layers stays, for it is a mount point.
func (p *planner) noteMountedSource() error {
	j := p.plan.Job
	if j.Method != Copy || j.isBack() {
		return nil
	}
	dir := filepath.Join(p.Root, j.From)
	mounts, err := mount.ListAt(dir)
	if len(mounts) > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("%s is a mount point: what is in it is deleted, and it stays", dir))
	}
	return err
}

// noteUndoLosses notes what an undo would lose: what was made since layers were copied.
func (p *planner) noteUndoLosses() error {
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
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("images made since, which are lost: %d; containers: %d", images, mounts))
	}
	return nil
}

// readAllowedJob reads the journal for an action.
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

// applyLeaveConfig leaves daemon.json to the administrator from here on, if that is asked for.
func (j *Job) applyLeaveConfig(tools Tools) {
	if tools.LeaveConfig {
		j.Config = ""
	}
}

// errNoJob is of an action that needs a migration.
var errNoJob = fault.New(fault.NotFound, "no migration is under way: `overlayzfs migrate --back` goes from the plugin to overlay2 or zfs")

// checkAction refuses an action that the phase does not allow.
func (j *Job) checkAction(a Action) error {
	switch {
	case a == ActionUndo && j.Phase == Finishing:
		return fault.New(fault.Unsupported, "what undoing needs is being deleted: `overlayzfs migrate --finish` goes on with that")
	case a == ActionUndo && len(j.Reclaimed) > 0:
		return fault.New(fault.Unsupported, "--reclaim has deleted old layers: run the migration to its end, and `overlayzfs migrate --back` afterwards")
	case a != ActionUndo && j.Phase == Undoing:
		return fault.New(fault.Interrupted, "an undo was cut short: `overlayzfs migrate --undo` goes on with it")
	case a == ActionFinish && j.Phase != Done && j.Phase != Finishing:
		return fault.NewWithRemedy(fault.Busy, "the migration is not at its end: `%s` goes on", j.resumeCommand())
	case a == ActionMigrate && j.Phase == Done:
		return fault.New(fault.Exists, "everything is migrated to %s: `overlayzfs migrate --finish` ends it, `overlayzfs migrate --undo` goes back", j.To)
	case a == ActionMigrate && j.Phase == Finishing:
		return fault.New(fault.Interrupted, "the end of a migration was cut short: `overlayzfs migrate --finish` goes on with it")
	}
	return nil
}
