package migrate

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Tools are what a job is carried out with.
type Tools struct {
	// Open opens the store that layers are carried to, or back from.
	Open func(ctx context.Context) (Store, func() error, error)
	// Unused makes sure that nobody has the plugin's store open, which outlives
	// dockerd under live-restore; fault.Busy.
	Unused func() error
	// Token tells which engine had the store last; empty for none.
	Token func() (string, error)
	// LeaveConfig: daemon.json is not to be written, though the journal names it.
	LeaveConfig bool
	// Untried: old layers may be deleted though no engine has run on the new ones.
	Untried bool
	// Progress shows how far a work of so many bytes is.
	Progress func(what string, total int64) (step func(n int64), done func())
}

// ErrUnfinished is of a job that was begun and stopped half-way: all that there was is
// there, and the same command goes on.
var ErrUnfinished = errors.New("run the same command again to go on")

// markUnfinished says of an error that the job is under way.
func markUnfinished(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %w", err, ErrUnfinished)
}

// Run migrates, or goes on with what a run before began.
func (p *Plan) Run(ctx context.Context, tools Tools) (err error) {
	if err := p.CheckObstacles(); err != nil {
		return err
	}
	return withDataRoot(p.Root, tools, func(r *dataRoot) error {
		p.Job.applyLeaveConfig(tools)
		if err := p.Job.startJob(r, tools); err != nil {
			return err
		}
		err := markUnfinished(p.Job.runPhases(ctx, r, tools))
		if err != nil && len(p.Job.Reclaimed) == 0 {
			err = fmt.Errorf("%w, or with --undo to go back", err)
		}
		return err
	})
}

// withDataRoot runs something on a data-root that no dockerd, and no container that
// outlived one, uses meanwhile.
func withDataRoot(dir string, tools Tools, run func(*dataRoot) error) (err error) {
	r, err := openDataRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	release, err := r.lockDockerd()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := r.requireStopped(procDir); err != nil {
		return err
	}
	if err := tools.Unused(); err != nil {
		return fmt.Errorf("the plugin still runs: %w. Stop it with dockerd, without live-restore", err)
	}
	return run(r)
}

// runPhases does what the phase leaves to do. A copy is always carried again from the
// start, which costs little where layers are there: dockerd may have run since.
func (j *Job) runPhases(ctx context.Context, r *dataRoot, tools Tools) error {
	switch j.Phase {
	case Carrying, Switching:
		if err := j.carryAndSwitch(ctx, r, tools); err != nil {
			return err
		}
	case Configuring:
	default:
		return j.checkAction(ActionMigrate)
	}
	if err := j.enterConfiguring(r); err != nil {
		return err
	}
	if err := j.switchConfig(); err != nil {
		return err
	}
	return j.enterPhase(r, Done)
}

// enterConfiguring notes what the old driver has at the end, so that it shows when that
// is used again.
func (j *Job) enterConfiguring(r *dataRoot) (err error) {
	if j.Method == Copy && j.Phase != Configuring {
		if j.Old, err = r.recordNames(imageDir(j.From)); err != nil {
			return err
		}
	}
	return j.enterPhase(r, Configuring)
}

func (j *Job) carryAndSwitch(ctx context.Context, r *dataRoot, tools Tools) error {
	if again, err := j.needsCarry(tools); err != nil {
		return err
	} else if again {
		if err := j.carryLayers(ctx, r, tools); err != nil {
			return err
		}
	}
	if err := j.enterPhase(r, Switching); err != nil {
		return err
	}
	for _, s := range j.recordSteps(r) {
		if err := errors.Join(ctx.Err(), s.do()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// needsCarry reports whether layers are to be carried. On the way back, once
// records are being switched, containers may have run on what was carried: unless
// it is the store that had an engine since.
func (j *Job) needsCarry(tools Tools) (bool, error) {
	if j.Method != Copy || !j.isBack() || j.Phase != Switching {
		return j.Method == Copy, nil
	}
	token, err := tools.Token()
	return token != j.Token, err
}

// carryLayers opens what carrying needs.
func (j *Job) carryLayers(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.From)
	if err != nil {
		return err
	}
	if err := requireComplete(records); err != nil {
		return err
	}
	items, err := listItems(records, docker.StorageOptions)
	if err != nil {
		return err
	}
	from, closeSource, err := j.openSource(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if err := j.requireUnused(tools); err != nil {
		return err
	}
	store, closeStore, err := j.openTarget(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	step, done := tools.Progress("carrying layers", totalSize(items))
	defer done()
	c := &carrier{job: j, root: r, docker: docker, records: records, source: from, store: store, shareBlocks: j.Share && !j.Reclaim, progress: step}
	if err := c.carry(ctx, items); err != nil || !c.shareBlocks {
		return err
	}
	return c.verifyCopies(ctx)
}

// openTarget opens what layers are carried to.
func (j *Job) openTarget(ctx context.Context, r *dataRoot, tools Tools) (Store, func() error, error) {
	if !j.isBack() {
		return tools.Open(ctx)
	}
	if j.To == "zfs" {
		return j.openZFSStore(ctx)
	}
	store := overlay2Store{r}
	return store, func() error { return nil }, store.makeDirs()
}

// requireUnused refuses to carry containers again into a store in which they may
// have run meanwhile.
func (j *Job) requireUnused(tools Tools) error {
	if j.isBack() {
		return nil
	}
	token, err := tools.Token()
	if err == nil && token != j.Token {
		err = fault.New(fault.Exists, "dockerd was started with the driver %s before everything was carried: what was made there since would be lost. Go back with --undo, which loses that, and begin again", j.To)
	}
	return err
}

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
