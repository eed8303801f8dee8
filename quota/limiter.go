package quota

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Layer is a layer as a Limiter sees it.
type Layer struct {
	Key string // unique and never used again: the name of its short link
	Dir string // the layer's directory, also while it is being made aside
}

// keyPattern is what a key looks like. It becomes the name of a file and of a
// dataset, and by it a dataset of a layer that is gone is known.
var keyPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// controller keeps limits by one means. Calls for one layer do not overlap.
type controller interface {
	// reserve completes the record, which is saved before anything is made.
	reserve(r *Record) error
	// make readies a directory for the layer's upper and work directories, has
	// fill make them there, and puts the limits in force.
	make(p Layer, r Record, fill func(dir string) error) error
	// attach makes the content reachable below the layer's directory: a
	// container is about to write to it.
	attach(p Layer, r Record) error
	// detach is for when nobody uses it any more; repeating it is no error.
	detach(p Layer, r Record) error
	// set puts other limits in force, or the same ones again.
	set(p Layer, r Record) error
	usage(p Layer, r Record) (Usage, error)
	// discard deletes all there is of a layer but its record. An error of class
	// Busy is worth repeating.
	discard(ctx context.Context, key string, r Record) error
	// sweep deletes what a crash left that belongs to no record. Records are
	// saved first, so it asks for them after it has looked what is there.
	sweep(ctx context.Context, all func() (map[string]*Record, error)) error
	// close stops what runs in the background.
	close()
}

// Config is what a Limiter is made of.
type Config struct {
	ZFS         *zfs.Handle // nil: no limit can be kept
	Unavailable error       // why ZFS is nil
	Dataset     string      // of the store
	Store       string      // the store's own name: another may lie on the same dataset
	Home        string      // a directory on it, where probes can be made, and below which layers are made
	Records     string      // the directory of records
	Mode        Mode        // what the administrator asked for

	// MayOwn reports whether there may be a layer of that ID with that key. What
	// belongs to such a layer is not swept up, whatever became of its record.
	MayOwn func(id, key string) bool
}

// Limiter keeps the limits of the layers of a store.
type Limiter struct {
	records records
	mode    Mode  // for new limits
	why     error // why not another mode
	lacking error // why no limit at all can be kept; nil when one can
	refused error // why project quotas cannot be used here; nil when they can

	controllers map[Mode]controller

	ctx  context.Context // of what is tried again in the background
	stop context.CancelFunc
	jobs sync.WaitGroup
}

// Open chooses by what means limits are kept. That none can be is no error: the
// store works without, and says why when a limit is asked for. Recover comes
// next. Layers keep the means they were made with, whatever is chosen for new
// ones.
func Open(ctx context.Context, c Config) (*Limiter, error) {
	l := &Limiter{records: records(c.Records), controllers: map[Mode]controller{}}
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if c.ZFS == nil {
		l.mode, l.why, l.lacking = Off, c.Unavailable, c.Unavailable
		return l, l.require(c.Mode)
	}
	l.refused = probeProjects(ctx, c)
	l.controllers[Dataset] = newDatasets(c)
	l.controllers[Project] = newProjects(c, l.records)
	l.choose(c.Mode)
	return l, l.require(c.Mode)
}

// choose settles by what means new limits are kept.
func (l *Limiter) choose(asked Mode) {
	switch {
	case asked == Off:
		l.mode, l.why = Off, errors.New("overlayzfs.quota=off")
	case asked == Project && l.refused == nil:
		l.mode = Project
	case asked == Dataset:
		l.mode = Dataset
	default:
		l.mode, l.why = Dataset, l.whyNotProject()
	}
}

// whyNotProject says why Auto keeps to datasets: they are exact. A project quota
// counts by transaction groups, and the governor that makes up for it refuses
// writes near the limit while a neighbour is busy (docs/decisions/0010).
func (l *Limiter) whyNotProject() error {
	if l.refused != nil {
		return l.refused
	}
	return errors.New("exact; project quotas would cost less and be kept less well, see overlayzfs.quota")
}

// require fails when the administrator asked for a mode that cannot be had.
func (l *Limiter) require(asked Mode) error {
	if asked == Auto || asked == "" || asked == l.mode || asked == Off {
		return nil
	}
	l.Close()
	return fault.New(fault.Unsupported, "overlayzfs.quota=%s: %w; choose auto", asked, l.why)
}

// Mode is by what means new limits are kept, and why not by another: nil when
// it was chosen so.
func (l *Limiter) Mode() (Mode, error) { return l.mode, l.why }

// Check reports whether what is asked for a layer can be kept.
func (l *Limiter) Check(s Spec) error {
	if s.Empty() {
		return nil
	}
	if err := s.Properties.Check(); err != nil {
		return err
	}
	if l.mode == Off {
		return fault.New(fault.Unsupported, "a layer cannot have limits or properties of its own here: %w", l.why)
	}
	return nil
}

// Make makes the limited place for the layer that is being made in p.Dir; fill
// makes the directories diff and, where the layer needs it, work in the
// directory that it is told. When it fails nothing is left.
func (l *Limiter) Make(p Layer, id string, s Spec, fill func(dir string) error) error {
	if err := l.Check(s); err != nil {
		return err
	}
	if !keyPattern.MatchString(p.Key) {
		return fault.New(fault.Invalid, "%.60q is no key of a layer", p.Key)
	}
	r := Record{Layer: id, Mode: l.mode, Limits: s.Limits, Properties: s.Properties}
	if len(s.Properties) > 0 {
		r.Mode = Dataset // properties are a dataset's
	}
	c, err := l.controller(r)
	if err != nil {
		return err
	}
	if err := c.reserve(&r); err != nil {
		return err
	}
	if err := l.records.save(p.Key, r); err != nil {
		return errors.Join(err, c.discard(l.ctx, p.Key, r))
	}
	err = c.make(p, r, fill)
	if errors.Is(err, zfs.ErrExist) {
		return errors.Join(err, l.records.remove(p.Key)) // somebody else's
	}
	if err != nil {
		return errors.Join(err, l.Discard(p.Key))
	}
	return nil
}

// Find returns the record of a layer, or nil when it is not limited.
func (l *Limiter) Find(key string) (*Record, error) { return l.records.load(key) }

// Records are those of all limited layers, by their keys; nil for one that cannot
// be read.
func (l *Limiter) Records() (map[string]*Record, error) { return l.records.all() }

// Attach makes the layer's content reachable and watches over its limits; it
// must be detached again. To attach what is attached does nothing.
func (l *Limiter) Attach(p Layer) error {
	return l.with(p.Key, func(c controller, r Record) error {
		if r.Mode == Project && errors.Is(l.refused, fault.Unsupported) {
			return fault.New(fault.Unsupported, "layer %s has a limit by project quota, with which its container would fail here: %w; load an OpenZFS that can again, or remove the container", r.Layer, l.refused)
		}
		return c.attach(p, r)
	})
}

// Detach undoes Attach. Of a layer that is not limited or not attached it is
// no error.
func (l *Limiter) Detach(p Layer) error {
	return l.with(p.Key, func(c controller, r Record) error { return c.detach(p, r) })
}

// SetLimits changes the limits of a limited layer, also while it is in use. A limit
// below what the layer holds is refused.
func (l *Limiter) SetLimits(p Layer, limits Limits) error {
	before, err := l.records.load(p.Key)
	if err != nil {
		return err
	}
	if before == nil {
		return fault.New(fault.Unsupported, "the layer was made without a limit, and cannot get one any more: make the container again with --storage-opt size=…")
	}
	c, err := l.controller(*before)
	if err != nil {
		return err
	}
	used, err := c.usage(p, *before)
	if err != nil {
		return err
	}
	if err := limits.changed(before.Limits).hold(used); err != nil {
		return err
	}
	after := *before
	after.Limits = limits
	err = c.set(p, after)
	if err == nil {
		err = l.records.save(p.Key, after)
	}
	if err != nil {
		return errors.Join(err, c.set(p, *before))
	}
	return nil
}

// Usage is what a limited layer holds, as of the last transaction group.
func (l *Limiter) Usage(p Layer) (usage Usage, err error) {
	err = l.with(p.Key, func(c controller, r Record) error {
		usage, err = c.usage(p, r)
		return err
	})
	return usage, err
}

// with runs fn for a limited layer and nothing for another.
func (l *Limiter) with(key string, fn func(controller, Record) error) error {
	r, err := l.records.load(key)
	if err != nil || r == nil {
		return err
	}
	c, err := l.controller(*r)
	if err != nil {
		return err
	}
	return fn(c, *r)
}

func (l *Limiter) controller(r Record) (controller, error) {
	if c := l.controllers[r.Mode]; c != nil {
		return c, nil
	}
	return nil, fault.New(fault.Unsupported, "layer %s is limited by quota mode %s, which cannot be used now: %w", r.Layer, r.Mode, l.lacking)
}

// Discard deletes what a layer that is gone had of its own. What is still busy
// is tried again in the background, and at the next start.
func (l *Limiter) Discard(key string) error {
	err := l.discard(l.ctx, key)
	if errors.Is(err, fault.Busy) {
		l.again(key, err)
		return nil
	}
	return err
}

func (l *Limiter) discard(ctx context.Context, key string) error {
	return l.with(key, func(c controller, r Record) error {
		if err := c.discard(ctx, key, r); err != nil {
			return fmt.Errorf("take back what layer %s had of its own: %w", r.Layer, err)
		}
		return l.records.remove(key)
	})
}

// Recover finishes what a crash interrupted: live tells which keys are layers,
// and where. A layer that is in use has to be attached by then, or by live,
// to be watched over again.
func (l *Limiter) Recover(ctx context.Context, live func(Record, string) (Layer, bool)) error {
	if err := l.records.clean(); err != nil {
		return err
	}
	keys, err := l.records.keys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.recover(key, live); err != nil {
			logrus.WithError(err).WithField("key", key).Warn("a layer's limit could not be put in order")
		}
	}
	return l.Sweep(ctx)
}

// recover discards what a layer that is gone had, and puts the limit of one
// that is there in force again: not all of it is in ZFS's intent log, and a
// governor may have been at work when the process ended.
func (l *Limiter) recover(key string, live func(Record, string) (Layer, bool)) error {
	r, err := l.records.load(key)
	if err != nil || r == nil {
		return err
	}
	p, ok := live(*r, key)
	if !ok {
		return l.Discard(key)
	}
	c, err := l.controller(*r)
	if err != nil {
		return err
	}
	return c.set(p, *r)
}

// Sweep deletes what belongs to no record, as far as nothing holds it. A
// snapshot does; after it is gone another Sweep is due.
func (l *Limiter) Sweep(ctx context.Context) error {
	var errs []error
	for _, c := range l.controllers {
		errs = append(errs, c.sweep(ctx, l.records.all))
	}
	return errors.Join(errs...)
}

// Close stops what runs in the background. On a pool that became suspended some
// of it may not end; it is not waited for then.
func (l *Limiter) Close() {
	l.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.jobs.Wait()
		for _, c := range l.controllers {
			c.close()
		}
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		logrus.Warn("limits: something still waits for the pool")
	}
}

// closeTimeout is how long Close waits.
const closeTimeout = 2 * time.Second
