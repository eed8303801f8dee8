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

// resume looks at a migration that was begun.
func (p *planner) resume() error {
	p.running()
	if p.Action == Forward {
		p.contradiction()
		p.reclaims()
	}
	if err := p.plan.Job.allows(p.Action); err != nil {
		p.plan.obstacle("%v", err)
	} else if p.Action == Ending {
		if err := p.plan.Job.oldUnused(p.root); err != nil {
			p.plan.obstacle("%v", err)
		}
		if err := p.mountedOld(); err != nil {
			return err
		}
	}
	both, err := p.both()
	if err != nil || len(both) == 0 {
		return err
	}
	p.records = both[0]
	return errors.Join(p.countAll(both), p.newer(), p.returnable())
}

// both are the records of the old driver and of the new one, as far as there are any.
func (p *planner) both() (both []*dockerstore.Records, err error) {
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

// countAll counts what Docker has in the middle of a migration: once that is done, in
// the new driver's records. A container is the old driver's until its own record was
// switched, and the new one's then.
func (p *planner) countAll(both []*dockerstore.Records) error {
	err := p.count()
	now := both[len(both)-1]
	if phase := p.plan.Job.Phase; (phase == Done || phase == Finishing) && now != p.records {
		items, wrong := itemsOf(now, noOptions)
		p.plan.Driver, p.plan.Images, p.plan.Layers = now.Driver, len(now.Images), len(items)
		err = errors.Join(err, wrong)
	}
	p.plan.Containers = 0
	for _, records := range both {
		p.plan.Containers += len(records.Containers)
	}
	return err
}

// contradiction refuses to go on with another migration than the one that is asked
// for.
func (p *planner) contradiction() {
	j, driver := &p.plan.Job, p.plan.Job.To
	if j.back() {
		driver = j.From
	}
	if p.Back != j.back() || p.From != "" && p.From != j.From || p.To != "" && p.To != j.To || p.Driver != driver {
		p.plan.obstacle("another migration is under way, from %s to %s: `%s` goes on with it, and with --undo it is undone", j.From, j.To, j.command())
	}
}

// command is what goes on with a job.
func (j *Job) command() string {
	if j.back() {
		return fmt.Sprintf("overlayzfs migrate --back --to %s --driver %s", j.To, j.From)
	}
	return fmt.Sprintf("overlayzfs migrate --from %s --driver %s", j.From, j.To)
}

// mountedOld notes that a directory of old layers stays, for it is a mount point.
func (p *planner) mountedOld() error {
	j := p.plan.Job
	if j.Way != Copy || j.back() {
		return nil
	}
	dir := filepath.Join(p.Root, j.From)
	mounts, err := mount.ListAt(dir)
	if len(mounts) > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("%s is a mount point: what is in it is deleted, and it stays", dir))
	}
	return err
}

// newer notes what an undo would lose: what was made since layers were copied.
func (p *planner) newer() error {
	if p.Action != Backward || p.plan.Job.Way != Copy || p.records.Driver != p.plan.Job.From {
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
