package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/retry"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// ErrUnfinished is returned when a rollback stopped on its way. The store is not used until the
// rollback has been run again to its end.
var ErrUnfinished = errors.New("the rollback is not finished: run it again")

// step is one part of a rollback.
type step struct {
	name string
	// canAbort says that before this step only newer snapshots were lost, so that a failure
	// leaves a usable store.
	canAbort bool
	run      func(context.Context) error
}

// Do carries out the plan, or refuses. It can end at any instruction. Running it again, from a
// new plan, finishes it.
//
//  1. Set rollbackProperty: no driver opens the store any more.
//  2. Check everything again, now that no new user can come. When the plan has changed, clear
//     the property and stop.
//  3. Unmount the datasets, and what is mounted below them.
//  4. Destroy newer snapshots, on all datasets in one step of the pool, and newer bookmarks.
//  5. Roll back the datasets, one by one. Repeating that loses nothing.
//  6. Destroy datasets of limited layers that were made since.
//  7. Mount again.
//  8. Clear the property.
//
// A failure before the first dataset is rolled back mounts again and clears the property,
// unless an earlier rollback had set it.
func (p *Plan) Do(ctx context.Context) error {
	return p.execute(ctx, func(string) error { return nil })
}

// errCrash ends a rollback as the end of the process would. Tests use it.
var errCrash = errors.New("crash")

// execute runs the steps. It calls before with the name of each step, and stops at its error.
func (p *Plan) execute(ctx context.Context, before func(step string) error) error {
	if err := p.Refused(); err != nil {
		return err
	}
	for _, s := range p.steps() {
		err := before(s.name)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = s.run(ctx)
		}
		if err != nil {
			return p.abort(s, err)
		}
	}
	return nil
}

func (p *Plan) steps() []step {
	steps := []step{
		{"set the property", true, p.setProperty},
		{"recheck", true, p.recheck},
		{"unmount", true, p.unmount},
		{"destroy newer snapshots", true, p.destroyNewer},
	}
	for i, dataset := range p.RollBack {
		steps = append(steps, step{"roll back " + dataset, i == 0, func(ctx context.Context) error {
			return p.rollBackDataset(ctx, dataset)
		}})
	}
	for _, dataset := range p.MadeSince {
		steps = append(steps, step{"destroy " + dataset, false, func(ctx context.Context) error {
			err := p.zfs.Destroy(dataset)
			if errors.Is(err, zfs.ErrNotExist) {
				return nil
			}
			return err
		}})
	}
	return append(steps,
		step{"mount again", false, func(context.Context) error { return p.mountAgain() }},
		step{"clear the property", false, func(context.Context) error { return p.clearProperty() }},
	)
}

// unmount takes the mounts away, and waits until the kernel has no file system of the datasets.
func (p *Plan) unmount(ctx context.Context) error {
	goesBack := func(dataset string) bool {
		return slices.Contains(p.RollBack, dataset) || slices.Contains(p.MadeSince, dataset)
	}
	if err := p.unmounted().unmountAll(goesBack); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, unmountTimeout)
	defer cancel()
	for _, dataset := range slices.Concat(p.RollBack, p.MadeSince) {
		isBusy := func(err error) bool { return errors.Is(err, fault.Busy) }
		if err := unmountPauses.While(ctx, isBusy, func() error { return requireUnused(dataset) }); err != nil {
			return err
		}
	}
	return nil
}

// unmountTimeout is how long the end of a file system may take after its last unmount.
const unmountTimeout = 10 * time.Second

var unmountPauses = retry.Pauses{First: 5 * time.Millisecond, Most: 500 * time.Millisecond}

func requireUnused(dataset string) error {
	busy, err := isInUse(dataset)
	if busy {
		err = fault.NewWithRemedy(fault.Busy, "dataset %s is in use after it was unmounted: a process has a file open, or another mount name space shows it; stop that process", dataset)
	}
	return err
}

// mountAgain makes the mounts that the rollback has taken away.
func (p *Plan) mountAgain() (err error) {
	p.Lost, err = p.unmounted().mountAll()
	return err
}

func (p *Plan) setProperty(context.Context) error {
	properties := zfs.Properties{rollbackProperty: zfs.String(p.Name)}
	if p.Records != "" {
		properties[rollbackRecordsProperty] = zfs.String(p.Records)
	}
	return p.zfs.SetProperty(p.Layers, properties)
}

// clearProperty clears a property that was received, too.
func (p *Plan) clearProperty() error {
	if err := p.zfs.Inherit(p.Layers, rollbackRecordsProperty); err != nil {
		return err
	}
	return p.zfs.Inherit(p.Layers, rollbackProperty)
}

// recheck makes sure that nothing has changed since the plan was made, and that no process
// opened the store before the property was set.
func (p *Plan) recheck(context.Context) error {
	now, err := PlanRollback(p.zfs, p.Layers, p.Name, p.options)
	if err != nil {
		return err
	}
	if err := now.Refused(); err != nil {
		return err
	}
	now.Resumes = p.Resumes // this rollback's own property
	if now.String() != p.String() {
		return fmt.Errorf("%w: the plan is out of date; plan it again", ErrRefused)
	}
	return nil
}

func (p *Plan) destroyNewer(context.Context) error {
	if err := p.zfs.DestroySnapshots(slices.Concat(p.Newer, p.Foreign), false); err != nil {
		return err
	}
	return p.zfs.DestroyBookmarks(p.Bookmarks)
}

// rollBackDataset rolls back one dataset. A limited layer that was removed since exists again,
// and gets room for its content.
func (p *Plan) rollBackDataset(ctx context.Context, dataset string) error {
	if dataset != p.Layers && dataset != p.Records {
		var err error
		if dataset, err = p.prepareLimited(dataset); err != nil {
			return err
		}
	}
	return p.zfs.Rollback(ctx, dataset, snapshotName(dataset, p.Name))
}

// prepareLimited prepares a limited layer's dataset for a rollback, and returns its name. The
// dataset of a removed layer moves back to the others.
//
// The layer's limit may have been lowered since, and the kernel refuses to go back to more than
// that. The limit is raised no further than needed. The driver's records, which go back too,
// contain the old limit.
func (p *Plan) prepareLimited(dataset string) (string, error) {
	if name := p.Layers + "/" + keyOf(dataset); name != dataset {
		if err := p.zfs.Rename(dataset, name); err != nil {
			return "", err
		}
		dataset = name
	}
	if err := p.zfs.Inherit(dataset, quota.RemovedProperty); err != nil {
		return "", err
	}
	stats, err := p.zfs.DatasetStats(dataset)
	if err != nil {
		return "", err
	}
	s, err := p.zfs.DatasetStats(snapshotName(dataset, p.Name))
	if err != nil {
		return "", err
	}
	if limit := stats.RefQuota(); limit == 0 || limit >= s.Referenced() {
		return dataset, nil
	}
	return dataset, p.zfs.SetUint(dataset, "refquota", s.Referenced())
}

// abort returns the error of a rollback that ended at a step. It clears the property when the
// step has lost nothing.
func (p *Plan) abort(at step, err error) error {
	if errors.Is(err, errCrash) {
		return err
	}
	err = fmt.Errorf("%s: %w", at.name, err)
	if !at.canAbort || p.Resumes != "" {
		return errors.Join(err, ErrUnfinished)
	}
	if undo := errors.Join(p.mountAgain(), p.clearProperty()); undo != nil {
		return errors.Join(err, undo, ErrUnfinished)
	}
	return err
}
