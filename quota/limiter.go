package quota

import (
	"context"
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Layer is a layer as a Limiter sees it.
type Layer struct {
	Key string // the name of its short link: unique, and never used again
	Dir string // the layer's directory, in staging or in place
}

// keyPattern matches keys. A key names a file and a dataset, and tells the dataset of a
// removed layer from other datasets.
var keyPattern = regexp.MustCompile(`^[A-Z0-9]{26}$`)

// IsKey reports whether text has the form of a key, which is that of a short link's name.
func IsKey(text string) bool { return keyPattern.MatchString(text) }

// controller enforces limits in one mode. Calls for one layer do not overlap.
type controller interface {
	// reserve completes the record, which is saved before anything else is made.
	reserve(r *Record) error
	// make prepares a directory, has fill make the layer's upper and work directories in it,
	// and puts the limits in force.
	make(layer Layer, r Record, fill func(dir string) error) error
	// attach makes the content reachable below the layer's directory, for a container that is
	// about to write to it.
	attach(layer Layer, r Record) error
	// detach ends the use of the content. Repeating it is no error.
	detach(layer Layer, r Record) error
	// set puts other limits in force, or the same ones again.
	set(layer Layer, r Record) error
	usage(layer Layer, r Record) (Usage, error)
	// discard deletes everything of a layer except its record. The caller repeats it after an
	// error of class Busy.
	discard(ctx context.Context, key string, r Record) error
	// sweep deletes datasets or quotas that a crash left and that have no record. Records are
	// saved first, so sweep lists what exists before it reads the records.
	sweep(ctx context.Context, all func() (map[string]*Record, error)) error
	// close stops the work in the background.
	close()
}

// Config is the configuration of a Limiter.
type Config struct {
	ZFS         *zfs.Handle // nil: no limit can be enforced
	Unavailable error       // the reason why ZFS is nil
	Dataset     string      // the store's dataset
	Store       string      // the store's own name, because several may share a dataset
	Staging     string      // the staging directory on it, for layers and probes
	Records     string      // the directory of records
	Mode        Mode        // the administrator's choice

	// Spares is how many datasets are made beforehand for further layers with a limit.
	Spares int

	// IdleFor returns for how long the store ran no call. Spares are made in quiet moments, unless
	// it is nil.
	IdleFor func() time.Duration

	// MayHaveKey reports whether a layer with that ID may exist and have that key. A sweep spares the
	// datasets of such a layer, even without a record.
	MayHaveKey func(id, key string) bool
}

// Limiter enforces the limits of the layers of a store.
type Limiter struct {
	records        records
	mode           Mode  // the mode of new limits
	reason         error // why the mode is not another one
	unavailable    error // why no limit can be enforced, or nil
	projectRefusal error // why project quotas cannot be used here, or nil

	controllers map[Mode]controller
	spares      *spares // nil: none are made
	discards    discards
	idleFor     func() time.Duration

	ctx  context.Context // of work in the background
	stop context.CancelFunc
	jobs sync.WaitGroup

	looks sync.Once // starts the looks in the background
}

// Open chooses the mode for new limits. Layers keep the mode that they were made with.
// When no mode works, the store works without limits, and Check says why. Recover comes
// next.
func Open(ctx context.Context, c Config) (*Limiter, error) {
	l := &Limiter{records: records(c.Records), controllers: map[Mode]controller{}, idleFor: c.IdleFor}
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if c.ZFS == nil {
		l.mode, l.reason, l.unavailable = Off, c.Unavailable, c.Unavailable
		return l, l.requireMode(c.Mode)
	}
	l.projectRefusal = probeProjects(ctx, c)
	byDataset := newDatasets(c)
	l.controllers[Dataset] = byDataset
	if c.Spares > 0 {
		l.spares = &spares{datasets: byDataset, records: l.records, drop: l.dropSpare, awaitQuiet: l.awaitQuiet, most: c.Spares, taken: map[string]bool{}, noneReady: make(chan struct{}, 1)}
	}
	l.controllers[Project] = newProjects(c, l.records)
	l.chooseMode(c.Mode)
	return l, l.requireMode(c.Mode)
}

// chooseMode chooses the mode for new limits.
func (l *Limiter) chooseMode(asked Mode) {
	switch {
	case asked == Off:
		l.mode, l.reason = Off, errors.New("overlayzfs.quota=off")
	case asked == Project && l.projectRefusal == nil:
		l.mode = Project
	case asked == Dataset:
		l.mode = Dataset
	default:
		l.mode, l.reason = Dataset, l.explainNotProject()
	}
}

// explainNotProject says why Auto chooses datasets: they are exact. A project quota counts
// by transaction groups. The governor that makes up for it refuses writes near the limit
// while a neighbour is busy (docs/decisions/0010).
func (l *Limiter) explainNotProject() error {
	if l.projectRefusal != nil {
		return l.projectRefusal
	}
	return errors.New("exact; project quotas cost less and are enforced less well, see overlayzfs.quota")
}

// requireMode returns an error when the administrator's mode cannot be used.
func (l *Limiter) requireMode(asked Mode) error {
	if asked == Auto || asked == "" || asked == l.mode || asked == Off {
		return nil
	}
	l.Close()
	return fault.New(fault.Unsupported, "overlayzfs.quota=%s: %w; choose auto", asked, l.reason)
}

// Mode returns the mode of new limits, and the reason why it is not another one. The reason
// is nil when the administrator asked for this mode.
func (l *Limiter) Mode() (Mode, error) { return l.mode, l.reason }

// Check returns an error when the spec of a layer cannot be enforced.
func (l *Limiter) Check(s Spec) error {
	if s.Empty() {
		return nil
	}
	if err := s.Properties.Check(); err != nil {
		return err
	}
	if l.mode == Off {
		return fault.New(fault.Unsupported, "a layer cannot have limits or properties here: %w", l.reason)
	}
	return nil
}

// Make makes the contents of a limited layer that is being created in p.Dir. fill makes the
// directory diff, and work where the layer needs it, in the directory that it is given.
// It does the same for each layer of a store. When Make fails, nothing is left.
func (l *Limiter) Make(layer Layer, id string, s Spec, fill func(dir string) error) error {
	if err := l.Check(s); err != nil {
		return err
	}
	if !IsKey(layer.Key) {
		return fault.New(fault.Invalid, "%.60q is not the key of a layer", layer.Key)
	}
	r := Record{Layer: id, Mode: l.mode, Limits: s.Limits, Properties: s.Properties, XIno: s.XIno}
	if len(s.Properties) > 0 {
		r.Mode = Dataset // only a dataset has properties
	}
	c, err := l.controller(r)
	if err != nil {
		return err
	}
	if err := c.reserve(&r); err != nil {
		return err
	}
	if err := l.records.save(layer.Key, r); err != nil {
		return errors.Join(err, c.discard(l.ctx, layer.Key, r))
	}
	err = l.makeContent(c, layer, r, fill)
	if errors.Is(err, zfs.ErrExist) {
		return errors.Join(err, l.records.remove(layer.Key)) // the dataset is not ours
	}
	if err != nil {
		return errors.Join(err, l.Discard(layer.Key))
	}
	l.spares.refill(l.ctx, &l.jobs, r, fill)
	return nil
}

// makeContent makes the contents of a layer. It uses the spare that the layer has the key of,
// if there is one.
func (l *Limiter) makeContent(c controller, layer Layer, r Record, fill func(dir string) error) error {
	if !l.spares.claim(layer.Key) {
		return c.make(layer, r, fill)
	}
	adopted, err := l.spares.datasets.adopt(layer, r)
	if err != nil {
		return err
	}
	if !adopted { // destroyed or renamed by somebody else
		return c.make(layer, r, fill)
	}
	l.jobs.Go(func() {
		if err := l.spares.datasets.nameLayer(layer.Key, r); err != nil {
			logrus.WithError(err).WithField("layer", r.Layer).Warn("the dataset of the layer does not show its name until the next start")
		}
	})
	return nil
}

// Find returns the record of a layer, or nil for a layer without a limit.
func (l *Limiter) Find(key string) (*Record, error) { return l.records.load(key) }

// Records returns the records of all limited layers by key. An unreadable record is nil.
func (l *Limiter) Records() (map[string]*Record, error) {
	all, err := l.records.loadAll()
	return withoutSpares(all), err
}

// Attach makes the layer's content reachable and watches its limits. Detach undoes it.
// Attach of an attached layer does nothing.
func (l *Limiter) Attach(layer Layer) error {
	return l.runForLayer(layer.Key, func(c controller, r Record) error {
		if r.Mode == Project && errors.Is(l.projectRefusal, fault.Unsupported) {
			return fault.New(fault.Unsupported, "layer %s is limited by a project quota, with which its container would fail here: %w; load an OpenZFS that supports it, or remove the container", r.Layer, l.projectRefusal)
		}
		return c.attach(layer, r)
	})
}

// Detach undoes Attach. It does nothing for a layer without a limit or not attached.
func (l *Limiter) Detach(layer Layer) error {
	return l.runForLayer(layer.Key, func(c controller, r Record) error { return c.detach(layer, r) })
}

// SetLimits changes the limits of a limited layer, even while it is in use. It refuses a
// limit below what the layer holds.
func (l *Limiter) SetLimits(layer Layer, limits Limits) error {
	before, err := l.records.load(layer.Key)
	if err != nil {
		return err
	}
	if before == nil {
		return fault.New(fault.Unsupported, "the layer was made without a limit, and cannot get one now; make the container again with --storage-opt size=…")
	}
	c, err := l.controller(*before)
	if err != nil {
		return err
	}
	used, err := c.usage(layer, *before)
	if err != nil {
		return err
	}
	if err := limits.dropUnchanged(before.Limits).CheckUsage(used); err != nil {
		return err
	}
	after := *before
	after.Limits = limits
	err = c.set(layer, after)
	if err == nil {
		err = l.records.save(layer.Key, after)
	}
	if err != nil {
		return errors.Join(err, c.set(layer, *before))
	}
	return nil
}

// Usage returns what a limited layer holds, as of the last transaction group.
func (l *Limiter) Usage(layer Layer) (usage Usage, err error) {
	err = l.runForLayer(layer.Key, func(c controller, r Record) error {
		usage, err = c.usage(layer, r)
		return err
	})
	return usage, err
}

// runForLayer runs fn for a limited layer. It does nothing for another layer.
func (l *Limiter) runForLayer(key string, fn func(controller, Record) error) error {
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
	return nil, fault.New(fault.Unsupported, "layer %s is limited by quota mode %s, which cannot be used now: %w", r.Layer, r.Mode, l.unavailable)
}
