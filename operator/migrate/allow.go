package migrate

import (
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

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
