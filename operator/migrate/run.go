package migrate

import (
	"context"
	"errors"
	"fmt"
	"path"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Tools is what a job needs from the command.
type Tools struct {
	// Open opens the store that layers are copied to.
	Open func(ctx context.Context) (Store, func() error, error)
	// Unused fails with fault.Busy while the plugin's store is open. Under live-restore
	// the plugin outlives dockerd.
	Unused func() error
	// Token returns the token of the engine that used the store last, or "".
	Token func() (string, error)
	// SetLimit sets the limit of a container in the image store, by its options in Docker's
	// records.
	SetLimit func(ctx context.Context, container string, options map[string]string) error
	// LeaveConfig leaves daemon.json unchanged, although the journal names it.
	LeaveConfig bool
	// Untried allows deleting the old layers before an engine has run on the new ones.
	Untried bool
	// Note, if not nil, is called with what the operator has to know about an image.
	Note func(text string)
	// Progress begins to show the progress of a work of total bytes.
	Progress func(what string, total int64) (step func(n int64), done func())
}

// ErrUnfinished is in the error of a job that stopped half-way. Nothing is lost, and the
// same command continues the job.
var ErrUnfinished = errors.New("run the same command again to continue")

// markUnfinished adds ErrUnfinished to an error.
func markUnfinished(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %w", err, ErrUnfinished)
}

// Run migrates, or continues the job of an earlier run.
func (p *Plan) Run(ctx context.Context, tools Tools) (err error) {
	if err := p.CheckObstacles(); err != nil {
		return err
	}
	defer p.Job.disconnect()
	return runLocked(p.Root, tools, func(r *dataRoot) error {
		p.Job.applyLeaveConfig(tools)
		if err := p.Job.startJob(r, tools); err != nil {
			return err
		}
		err := markUnfinished(p.Job.runPhases(ctx, r, tools))
		if err != nil && len(p.Job.Reclaimed) == 0 {
			err = fmt.Errorf("%w, or with --undo to revert it", err)
		}
		return err
	})
}

// runLocked calls run with a data-root and keeps dockerd from starting meanwhile. It
// fails while dockerd, a container that outlived it, or the plugin runs.
func runLocked(dir string, tools Tools, run func(*dataRoot) error) (err error) {
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
		return fmt.Errorf("the plugin is still running: %w; stop dockerd without live-restore", err)
	}
	return run(r)
}

// runPhases does the remaining phases. A copy always begins again at the first layer,
// because dockerd may have run since; layers that were copied cost little.
func (j *Job) runPhases(ctx context.Context, r *dataRoot, tools Tools) error {
	switch j.Phase {
	case Carrying, Switching:
		if err := j.carryAndSwitch(ctx, r, tools); err != nil {
			return err
		}
		if err := j.dropLease(ctx); err != nil {
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

// enterConfiguring records what the old driver has now, so that Finish detects whether
// the old driver was used again.
func (j *Job) enterConfiguring(r *dataRoot) (err error) {
	if j.keepsOld() && j.Phase != Configuring {
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
	for _, s := range j.recordSteps(ctx, r) {
		if err := errors.Join(ctx.Err(), s.do()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// needsCarry reports whether layers have to be copied. A migration back that is
// switching records copies again only when an engine has used the store since;
// otherwise containers may have run on the copies already.
func (j *Job) needsCarry(tools Tools) (bool, error) {
	if j.Method != Copy || !j.isBack() || j.Phase != Switching {
		return j.keepsOld(), nil
	}
	token, err := tools.Token()
	return token != j.Token, err
}

// carryLayers opens source and target, and copies every layer from one to the other.
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
	j.skipImages(records)
	if _, err := j.dropUnneeded(r, records); err != nil {
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
	if err := j.beginPluginCopy(r, records, items, tools); err != nil {
		return err
	}
	if err := j.requireUnused(tools); err != nil {
		return err
	}
	store, closeStore, err := j.openTarget(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	step, done := tools.Progress("copying layers", totalSize(items))
	defer done()
	c := &carrier{job: j, root: r, docker: docker, records: records, source: from, store: store, progress: step, blobs: map[digest.Digest]int64{}}
	if s, ok := store.(*snapshotStore); ok {
		s.expect(items, records)
		if err := j.recordContainers(ctx, r, records); err != nil {
			return err
		}
	}
	if err = c.carry(ctx, items); err == nil {
		err = c.importImages(ctx)
	}
	if tools.Note != nil {
		for _, note := range c.notes {
			tools.Note(note)
		}
	}
	return err
}

// openTarget opens the store that layers are copied to.
func (j *Job) openTarget(ctx context.Context, r *dataRoot, tools Tools) (Store, func() error, error) {
	if j.Method == Import {
		return j.openImageStore(ctx, tools)
	}
	if !j.isBack() {
		return tools.Open(ctx)
	}
	if j.To == "zfs" {
		return j.openZFSStore(ctx)
	}
	store := overlay2Store{r}
	return store, func() error { return nil }, store.makeDirs()
}

// requireUnused fails when an engine has used the new store since the job started:
// another copy would overwrite what containers changed there.
func (j *Job) requireUnused(tools Tools) error {
	if j.isBack() || j.Method == Import {
		return nil
	}
	token, err := tools.Token()
	if err == nil && token != j.Token {
		err = fault.New(fault.Exists, "dockerd was started with the driver %s before all layers were copied, and another copy would overwrite its changes: discard them with --undo, and start again", j.To)
	}
	return err
}

// startJob writes the journal of a new job. It fails when the target is not empty.
func (j *Job) startJob(r *dataRoot, tools Tools) (err error) {
	if j.Phase != "" {
		return nil
	}
	if err := j.requireNoneImported(r); err != nil {
		return err
	}
	// Without a journal the directory holds only leftovers, which no undo needs.
	if err := r.RemoveAll(workDir); err != nil {
		return err
	}
	if !j.keepsDriverName() {
		if err := r.removeEmptyRecords(j.To); err != nil {
			return err
		}
	}
	if err := j.clearTarget(r); err != nil {
		return err
	}
	j.Phase = Switching
	if j.keepsOld() {
		j.Phase = Carrying
	}
	if j.Method == Copy {
		if j.Token, err = tools.Token(); err != nil {
			return err
		}
	}
	return j.save(r)
}

// clearTarget removes the target directory. It fails when that holds layers.
func (j *Job) clearTarget(r *dataRoot) error {
	if j.Target == "" {
		return nil
	}
	empty, err := r.hasNoLayers(j.Target)
	if err != nil {
		return err
	}
	if !empty {
		return fault.New(fault.Exists, "%s already holds layers: move it away", path.Join(r.Name(), j.Target))
	}
	return r.RemoveAll(j.Target)
}
