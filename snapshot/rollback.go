package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// ErrUnfinished is in the error of a rollback that stopped on its way. The
// store is not used until the rollback was run again and got to its end.
var ErrUnfinished = errors.New("the rollback is not finished: run it again")

// step is one part of a rollback.
type step struct {
	name string
	// undone says that before this step nothing was lost but newer snapshots,
	// so that a failure leaves a store that can be used.
	undone bool
	run    func(context.Context) error
}

// Do carries the plan out, or refuses. It can end at any instruction: running
// it again, from a new plan, finishes it.
//
//  1. The mark (markProperty) is set: no driver opens the store any more.
//  2. Everything is looked at again, now that nobody new can come. What is not
//     as it was planned ends here: the mark is cleared.
//  3. Newer snapshots are destroyed, on all datasets in one step of the pool.
//  4. The datasets go back, one by one. To go back again loses nothing.
//  5. Datasets of limited layers made since are destroyed.
//  6. The mark is cleared.
//
// A failure up to the first dataset's going back clears the mark, too, unless
// an earlier rollback had set it.
func (p *Plan) Do(ctx context.Context) error {
	return p.do(ctx, func(string) error { return nil })
}

// errCrash ends a rollback as the end of the process would. For tests.
var errCrash = errors.New("crash")

// do tells before which step it is; an error from there ends it.
func (p *Plan) do(ctx context.Context, before func(step string) error) error {
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
			return p.stopped(s, err)
		}
	}
	return nil
}

func (p *Plan) steps() []step {
	steps := []step{
		{"mark", true, p.mark},
		{"look again", true, p.lookAgain},
		{"destroy newer snapshots", true, p.destroyNewer},
	}
	for i, dataset := range p.Back {
		steps = append(steps, step{"go back " + dataset, i == 0, func(ctx context.Context) error {
			return p.goBack(ctx, dataset)
		}})
	}
	for _, dataset := range p.Later {
		steps = append(steps, step{"destroy " + dataset, false, func(ctx context.Context) error {
			err := p.zfs.Destroy(dataset)
			if errors.Is(err, zfs.ErrNotExist) {
				return nil
			}
			return err
		}})
	}
	return append(steps, step{"clear the mark", false, func(context.Context) error { return p.clear() }})
}

func (p *Plan) mark(context.Context) error {
	return p.zfs.SetString(p.Layers, markProperty, p.Name)
}

func (p *Plan) clear() error { return p.zfs.Inherit(p.Layers, markProperty) }

// lookAgain makes sure that nothing has changed since the plan was made, and
// that nobody opened the store before the mark was set.
func (p *Plan) lookAgain(context.Context) error {
	now, err := PlanRollback(p.zfs, p.Layers, p.Records, p.Name, p.options)
	if err != nil {
		return err
	}
	if err := now.Refused(); err != nil {
		return err
	}
	now.Resumes = p.Resumes // that is our mark
	if now.String() != p.String() {
		return fmt.Errorf("%w: things have changed since it was planned; look at it again", ErrRefused)
	}
	return nil
}

func (p *Plan) destroyNewer(context.Context) error {
	return p.zfs.DestroySnapshots(append(p.Newer[:len(p.Newer):len(p.Newer)], p.Foreign...), false)
}

// goBack puts one dataset back. A limited layer that was removed since lives
// again, and gets room for what it held.
func (p *Plan) goBack(ctx context.Context, dataset string) error {
	if dataset != p.Layers && dataset != p.Records {
		if err := p.revive(dataset); err != nil {
			return err
		}
	}
	return p.zfs.Rollback(ctx, dataset, full(dataset, p.Name))
}

// revive makes a limited layer's dataset fit to go back. Its limit can have
// been lowered since, and the kernel does not go back to more than that. It is
// raised no further than needed: what it was is in the driver's records, which
// go back, too.
func (p *Plan) revive(dataset string) error {
	if err := p.zfs.Inherit(dataset, quota.RemovedProperty); err != nil {
		return err
	}
	stats, err := p.zfs.DatasetStats(dataset)
	if err != nil {
		return err
	}
	s, err := p.zfs.DatasetStats(full(dataset, p.Name))
	if err != nil {
		return err
	}
	if limit := stats.RefQuota(); limit == 0 || limit >= s.Referenced() {
		return nil
	}
	return p.zfs.SetUint(dataset, "refquota", s.Referenced())
}

// stopped is the error of a rollback that ended at a step.
func (p *Plan) stopped(at step, err error) error {
	if errors.Is(err, errCrash) {
		return err
	}
	err = fmt.Errorf("%s: %w", at.name, err)
	if !at.undone || p.Resumes != "" {
		return errors.Join(err, ErrUnfinished)
	}
	if err := p.clear(); err != nil {
		return errors.Join(err, ErrUnfinished)
	}
	return err
}
