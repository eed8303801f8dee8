package migrate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Tools are what a job is carried out with.
type Tools struct {
	// Open opens the store that layers are carried to, or back from.
	Open func(ctx context.Context) (Store, func() error, error)
	// Token tells which engine had the store last; empty for none.
	Token func() (string, error)
	// Progress shows how far a work of so many bytes is.
	Progress func(what string, total int64) (step func(n int64), done func())
}

// ErrBegun is of a job that was begun and stopped half-way: all that there was is
// there, and the same command goes on.
var ErrBegun = errors.New("run the same command again to go on, or with --undo to go back")

// begun says of an error that the job is under way.
func begun(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %w", err, ErrBegun)
}

// Run migrates, or goes on with what a run before began.
func (p *Plan) Run(ctx context.Context, tools Tools) (err error) {
	if err := p.Refused(); err != nil {
		return err
	}
	return within(p.Root, func(r *dataRoot) error {
		if err := p.Job.prepare(r, tools); err != nil {
			return err
		}
		return begun(p.Job.run(ctx, r, tools))
	})
}

// within runs something on a data-root that no dockerd uses meanwhile.
func within(dir string, run func(*dataRoot) error) (err error) {
	r, err := openDataRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	release, err := r.quiet()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return run(r)
}

// prepare writes the journal of a new job, when the places that it wants are free.
func (j *Job) prepare(r *dataRoot, tools Tools) (err error) {
	if j.Phase != "" {
		return nil
	}
	if err := r.dropEmptyRecords(j.To); err != nil {
		return err
	}
	if err := j.freeTarget(r); err != nil {
		return err
	}
	j.Phase = Switching
	if j.Way == Copy {
		j.Phase = Carrying
		if j.Token, err = tools.Token(); err != nil {
			return err
		}
	}
	return j.save(r)
}

// freeTarget removes the directory that layers are to have, when it holds none.
func (j *Job) freeTarget(r *dataRoot) error {
	if j.Target == "" {
		return nil
	}
	empty, err := r.noLayers(j.Target)
	if err != nil {
		return err
	}
	if !empty {
		return fault.New(fault.Exists, "there are layers in %s already", path.Join(r.Name(), j.Target))
	}
	return r.RemoveAll(j.Target)
}

// run does what the phase leaves to do. A copy is always carried again from the
// start, which costs little where layers are there: dockerd may have run since.
func (j *Job) run(ctx context.Context, r *dataRoot, tools Tools) error {
	switch j.Phase {
	case Carrying, Switching:
		if err := j.carryAndSwitch(ctx, r, tools); err != nil {
			return err
		}
	case Configuring:
	default:
		return j.allows(Forward)
	}
	if err := j.enter(r, Configuring); err != nil {
		return err
	}
	if err := j.switchConfig(); err != nil {
		return err
	}
	return j.enter(r, Done)
}

func (j *Job) carryAndSwitch(ctx context.Context, r *dataRoot, tools Tools) error {
	if again, err := j.toCarry(tools); err != nil {
		return err
	} else if again {
		if err := j.carry(ctx, r, tools); err != nil {
			return err
		}
	}
	if err := j.enter(r, Switching); err != nil {
		return err
	}
	for _, s := range j.steps(r) {
		if err := errors.Join(ctx.Err(), s.do()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// toCarry reports whether layers are to be carried. On the way back, once
// records are being switched, containers may have run on what was carried: unless
// it is the store that had an engine since.
func (j *Job) toCarry(tools Tools) (bool, error) {
	if j.Way != Copy || !j.back() || j.Phase != Switching {
		return j.Way == Copy, nil
	}
	token, err := tools.Token()
	return token != j.Token, err
}

// carry opens what carrying needs.
func (j *Job) carry(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.From)
	if err != nil {
		return err
	}
	items, err := itemsOf(records, docker.StorageOptions)
	if err != nil {
		return err
	}
	from, closeSource, err := j.newSource(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if err := j.requireUnused(tools); err != nil {
		return err
	}
	store, closeStore, err := j.open(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	step, done := tools.Progress("carrying layers", sizeOf(items))
	defer done()
	c := &carrier{job: j, root: r, docker: docker, records: records, source: from, store: store, share: j.Share && !j.Reclaim, copied: step}
	if err := c.carry(ctx, items); err != nil || !c.share {
		return err
	}
	return c.verify(ctx)
}

// open opens what layers are carried to.
func (j *Job) open(ctx context.Context, r *dataRoot, tools Tools) (Store, func() error, error) {
	if !j.back() {
		return tools.Open(ctx)
	}
	store := overlay2{r}
	return store, func() error { return nil }, store.open()
}

// requireUnused refuses to carry containers again into a store in which they may
// have run meanwhile.
func (j *Job) requireUnused(tools Tools) error {
	if j.back() {
		return nil
	}
	token, err := tools.Token()
	if err == nil && token != j.Token {
		err = fault.New(fault.Exists, "dockerd was started with the driver %s before everything was carried: what was made there since would be lost. Go back with --undo, which loses that, and begin again", j.To)
	}
	return err
}

func sizeOf(items []item) (n int64) {
	for _, it := range items {
		n += it.size
	}
	return n
}

// Undo goes back to how things were before a migration that is not finished.
func Undo(ctx context.Context, root string, tools Tools) error {
	return within(root, func(r *dataRoot) error {
		j, err := allowedJob(r, Backward)
		if err != nil {
			return err
		}
		return j.undo(ctx, r, tools)
	})
}

// allowedJob reads the journal for an action.
func allowedJob(r *dataRoot, a Action) (*Job, error) {
	j, err := readJob(r)
	if err == nil && j == nil {
		err = errNoJob
	}
	if err != nil {
		return nil, err
	}
	return j, j.allows(a)
}

// errNoJob is of an action that needs a migration.
var errNoJob = fault.New(fault.NotFound, "no migration is under way: `overlayzfs migrate --back` goes from the plugin to overlay2")

// allows refuses an action that the phase does not allow.
func (j *Job) allows(a Action) error {
	switch {
	case a == Backward && j.Phase == Finishing:
		return fault.New(fault.Unsupported, "what undoing needs is being deleted: `overlayzfs migrate --finish` goes on with that")
	case a == Backward && len(j.Reclaimed) > 0:
		return fault.New(fault.Unsupported, "--reclaim has deleted old layers: run the migration to its end, and `overlayzfs migrate --back` afterwards")
	case a == Ending && j.Phase != Done && j.Phase != Finishing:
		return fault.New(fault.Busy, "the migration is not at its end: run `overlayzfs migrate` to go on")
	case a == Ending:
		return j.oldUnused()
	case a == Forward && j.Phase == Done:
		return fault.New(fault.Exists, "everything is migrated to %s: `overlayzfs migrate --finish` ends it, `overlayzfs migrate --undo` goes back", j.To)
	case a == Forward && j.Phase == Undoing:
		return fault.New(fault.Interrupted, "an undo was cut short: `overlayzfs migrate --undo` goes on with it")
	case a == Forward && j.Phase == Finishing:
		return fault.New(fault.Interrupted, "the end of a migration was cut short: `overlayzfs migrate --finish` goes on with it")
	}
	return nil
}

func (j *Job) undo(ctx context.Context, r *dataRoot, tools Tools) error {
	if err := j.enter(r, Undoing); err != nil {
		return err
	}
	if err := j.restoreConfig(); err != nil {
		return err
	}
	for _, s := range slices.Backward(j.steps(r)) {
		if err := s.undo(); err != nil {
			return fmt.Errorf("undo: %s: %w", s.name, err)
		}
	}
	if j.Way == Copy {
		if err := j.dropCarried(ctx, r, tools); err != nil {
			return err
		}
	}
	return j.forget(r)
}

// dropCarried empties the store, which held nothing before.
func (j *Job) dropCarried(ctx context.Context, r *dataRoot, tools Tools) (err error) {
	store, closeStore, err := j.open(ctx, r, tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	layers, err := store.Layers(ctx)
	if err != nil {
		return err
	}
	for _, id := range layers {
		if err := errors.Join(ctx.Err(), store.Remove(ctx, id)); err != nil {
			return err
		}
	}
	if err := store.Reaped(ctx); err != nil || !j.back() {
		return err
	}
	return r.RemoveAll(overlay2Dir)
}

// Finish deletes what undoing a migration would need.
func Finish(ctx context.Context, root string) error {
	return within(root, func(r *dataRoot) error {
		j, err := allowedJob(r, Ending)
		if err != nil {
			return err
		}
		if err := j.enter(r, Finishing); err != nil {
			return err
		}
		if j.Way == Copy {
			if err := j.dropOld(ctx, r); err != nil {
				return err
			}
		}
		return j.forget(r)
	})
}

// oldUnused makes sure that nobody went back to the old driver by hand.
func (j *Job) oldUnused() error {
	if j.Config == "" {
		return nil
	}
	f, err := readFields(j.Config)
	if err != nil {
		return err
	}
	if string(f[driverField]) == strconv.Quote(j.From) {
		return fault.New(fault.Invalid, "%s names the driver %s, whose layers are to be deleted: say %s there, or go back with --undo", j.Config, j.From, j.To)
	}
	return nil
}

// dropOld deletes the layers that were carried, then the records of them.
func (j *Job) dropOld(ctx context.Context, r *dataRoot) (err error) {
	docker, err := dockerstore.Open(r.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	records, err := docker.Read(j.From)
	if errors.Is(err, fault.NotFound) {
		return nil // the last to go is gone
	}
	if err != nil {
		return err
	}
	from, closeSource, err := j.newSource(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	ids, err := oldLayers(records, r)
	if err != nil {
		return err
	}
	if err := discardAll(ctx, from, ids); err != nil {
		return err
	}
	if err := from.clear(ctx); err != nil {
		return err
	}
	return r.RemoveAll(imageDir(j.From))
}

// oldLayers are all that Docker knows under the old driver, those that stand on
// others first, BuildKit's cache before all.
func oldLayers(records *dockerstore.Records, r *dataRoot) ([]string, error) {
	none := func(string) (map[string]string, error) { return nil, nil }
	items, err := itemsOf(records, none)
	if err != nil {
		return nil, err
	}
	var ids []string
	aside, err := buildsAside(r)
	if err != nil {
		return nil, err
	}
	known := byID(items)
	for _, id := range aside {
		if _, ok := known[id]; !ok {
			ids = append(ids, id)
		}
	}
	for _, it := range slices.Backward(items) {
		ids = append(ids, it.id)
	}
	return ids, nil
}

// buildsAside are the layers that BuildKit's records name that were set aside.
func buildsAside(r *dataRoot) ([]string, error) {
	there, err := r.exists(buildsName + "/snapshots.db")
	if err != nil || !there {
		return nil, err
	}
	return dockerstore.Builds(r.Name() + "/" + buildsName + "/snapshots.db")
}

// discardAll deletes layers. One that others stand on waits for those: of a
// build's cache it is not known which stands on which.
func discardAll(ctx context.Context, from source, ids []string) error {
	for {
		var busy []string
		var why []error
		for _, id := range ids {
			err := from.discard(ctx, id)
			switch {
			case errors.Is(err, fault.Busy):
				busy, why = append(busy, id), append(why, err)
			case err != nil:
				return err
			}
		}
		if len(busy) == 0 {
			return nil
		}
		if len(busy) == len(ids) {
			return errors.Join(why...)
		}
		ids = busy
	}
}

