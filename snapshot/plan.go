package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Options are what the operator allows a rollback to do.
type Options struct {
	DestroyNewer  bool // newer snapshots, other people's too, may be lost
	LayersOnly    bool // go back without Docker's records
	AcceptMissing bool // go back though datasets of limited layers are gone
}

// Plan is a rollback that was thought through and not begun.
type Plan struct {
	Layers  string    `json:"layers"`
	Name    string    `json:"name"` // what stands after the @
	Event   Event     `json:"event"`
	Time    time.Time `json:"time"`
	Records string    `json:"records,omitempty"` // goes back, too

	Back    []string `json:"back"`              // datasets that go back, the layers dataset first
	Newer   []string `json:"newer,omitempty"`   // newer snapshots of ours, to be destroyed
	Foreign []string `json:"foreign,omitempty"` // newer snapshots of other people, to be destroyed
	Later   []string `json:"later,omitempty"`   // datasets of limited layers made since, to be destroyed
	Missing []string `json:"missing,omitempty"` // that were in the snapshot and are not there, or not in it, any more

	Resumes  string   `json:"resumes,omitempty"`  // the snapshot an interrupted rollback was going to
	Obstacle []string `json:"obstacle,omitempty"` // why it is refused

	zfs     *zfs.Handle
	options Options
}

// ErrRefused is in the error of a rollback that was not begun: everything is
// as it was.
var ErrRefused = errors.New("the rollback is refused and has changed nothing")

// PlanRollback finds out what going back to a snapshot means. The name is
// what stands after the @. Records, if named, has to be the dataset that the
// snapshot itself names. What stands in the way is in the plan (Refused); an
// error means that there can be no plan.
func PlanRollback(z *zfs.Handle, layers, records, name string, o Options) (*Plan, error) {
	p := planner{Plan: &Plan{Layers: layers, Name: name, zfs: z, options: o}}
	if err := p.target(records); err != nil {
		return nil, err
	}
	for _, find := range []func() error{p.findChildren, p.findNewer, p.findUsers} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return p.Plan, nil
}

// Refused returns why the rollback cannot be begun, or nil.
func (p *Plan) Refused() error {
	if len(p.Obstacle) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRefused, strings.Join(p.Obstacle, "; "))
}

// planner fills in a plan.
type planner struct {
	*Plan
	txg    uint64 // the snapshot's
	limits limits // the limited layers in it
}

func (p *planner) refuse(format string, args ...any) {
	p.Obstacle = append(p.Obstacle, fmt.Sprintf(format, args...))
}

// target finds the snapshot on the layers and records datasets.
func (p *planner) target(records string) error {
	layers, err := p.zfs.DatasetStats(p.Layers)
	if err != nil {
		return err
	}
	p.Resumes = markOf(layers)
	s, err := p.zfs.DatasetStats(full(p.Layers, p.Name))
	if errors.Is(err, zfs.ErrNotExist) || err == nil && !ours(s) {
		return fault.New(fault.NotFound, "dataset %s has no snapshot %s that overlayzfs has taken: `overlayzfs snapshots --dataset %s` lists those", p.Layers, p.Name, p.Layers)
	}
	if err != nil {
		return err
	}
	if v := text(s, versionProperty); v != version {
		return fault.New(fault.Unsupported, "snapshot %s is of version %.20q, and this overlayzfs knows %s: use the version that took it", p.Name, v, version)
	}
	p.Event, p.Time = Event(text(s, eventProperty)), s.Created().UTC()
	p.txg, p.limits = s.CreateTXG, parseLimits(text(s, limitedProperty))
	p.Back = []string{p.Layers}
	p.requireRoom(layers, s)
	return p.targetRecords(records, text(s, recordsProperty))
}

// targetRecords decides whether Docker's records go back, and to what.
func (p *planner) targetRecords(named, inside string) error {
	switch {
	case p.options.LayersOnly && inside == p.Layers:
		return fault.New(fault.Invalid, "dataset %s holds layers and Docker's records: neither goes back without the other", p.Layers)
	case p.options.LayersOnly:
		return nil
	case inside == "":
		p.refuse("snapshot %s holds layers only: Docker's records of images and containers do not come back with it, and will not match the layers; go back without them with --layers-only, and restore the data-root of that moment by other means", p.Name)
		return nil
	case named != "" && named != inside:
		return fault.New(fault.Invalid, "snapshot %s holds the records dataset %s, not %s", p.Name, inside, named)
	}
	p.Records = inside
	if inside == p.Layers {
		return nil
	}
	s, err := p.zfs.DatasetStats(full(inside, p.Name))
	if errors.Is(err, zfs.ErrNotExist) || err == nil && (!ours(s) || s.CreateTXG != p.txg) {
		p.refuse("the records dataset %s has lost its snapshot %s: layers can go back without Docker's records with --layers-only", inside, p.Name)
		return nil
	}
	if err != nil {
		return err
	}
	p.Back = append(p.Back, inside)
	stats, err := p.zfs.DatasetStats(inside)
	p.requireRoom(stats, s)
	return err
}

// requireRoom refuses where an administrator's limit is lower than what comes
// back: the kernel would. The limits of limited layers are the driver's, and
// goBack raises them.
func (p *planner) requireRoom(dataset, snapshot zfs.Dataset) {
	if limit := dataset.RefQuota(); limit > 0 && limit < snapshot.Referenced() {
		p.refuse("%s is limited to %d bytes, and its snapshot holds %d: raise it with `zfs set refquota=…`", dataset.Name, limit, snapshot.Referenced())
	}
}

// findChildren sorts the datasets of limited layers.
func (p *planner) findChildren() error {
	children, err := limitedChildren(p.zfs, p.Layers)
	if err != nil {
		return err
	}
	there, covered := map[string]bool{}, 0
	for _, child := range children {
		there[keyOf(p.Layers, child.Name)] = true
		s, err := p.zfs.DatasetStats(full(child.Name, p.Name))
		switch {
		case err == nil && ours(s) && s.CreateTXG == p.txg:
			covered++
			p.Back = append(p.Back, child.Name)
		case err != nil && !errors.Is(err, zfs.ErrNotExist):
			return err
		case child.CreateTXG > p.txg:
			p.Later = append(p.Later, child.Name)
		case child.IsLocalOrReceived(quota.RemovedProperty): // before the snapshot was taken
		default:
			p.Missing = append(p.Missing, child.Name)
		}
	}
	for _, key := range p.limits.keys {
		if !there[key] {
			p.Missing = append(p.Missing, p.Layers+"/"+key)
		}
	}
	p.judgeMissing(p.limits.count - covered)
	return p.findBelow()
}

// judgeMissing refuses to lose limited layers unawares. Only the first keys
// are named in a snapshot; the rest is known by number.
func (p *planner) judgeMissing(short int) {
	if short <= 0 && len(p.Missing) == 0 || p.options.AcceptMissing {
		return
	}
	p.refuse("%d of the %d limited containers in the snapshot have lost their dataset or its snapshot (%s): what they had written does not come back, and they will not start; go back all the same with --accept-missing",
		max(short, len(p.Missing)), p.limits.count, some(p.Missing))
}

// findBelow refuses to destroy what others have put below a dataset of ours.
func (p *planner) findBelow() error {
	for _, later := range p.Later {
		below, err := zfs.Collect(p.zfs.Children(later))
		if err != nil {
			return err
		}
		for _, child := range below {
			p.refuse("%s has to be destroyed, and somebody has made %s below it: move that away", later, child.Name)
		}
	}
	return nil
}

// findNewer finds the snapshots that have to be destroyed: the kernel goes
// back to the latest only.
func (p *planner) findNewer() error {
	for _, dataset := range p.Back {
		if err := p.findNewerOf(dataset, p.txg); err != nil {
			return err
		}
	}
	for _, dataset := range p.Later {
		if err := p.findNewerOf(dataset, 0); err != nil {
			return err
		}
	}
	slices.Sort(p.Newer)
	slices.Sort(p.Foreign)
	if n := len(p.Newer) + len(p.Foreign); n > 0 && !p.options.DestroyNewer {
		p.refuse("%d newer snapshots would be lost, %d of them other people's (%s): allow it with --destroy-newer", n, len(p.Foreign), some(append(p.Foreign[:len(p.Foreign):len(p.Foreign)], p.Newer...)))
	}
	return nil
}

func (p *planner) findNewerOf(dataset string, txg uint64) error {
	for s, err := range p.zfs.SnapshotNames(dataset) {
		if err != nil {
			return err
		}
		if s.CreateTXG <= txg {
			continue
		}
		if err := p.addNewer(s.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) addNewer(name string) error {
	s, err := p.zfs.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if ours(s) {
		p.Newer = append(p.Newer, name)
	} else {
		p.Foreign = append(p.Foreign, name)
	}
	if s.Clones > 0 {
		p.refuse("the newer snapshot %s has %d clones: destroy or promote them", name, s.Clones)
	}
	holds, err := holdsOf(p.zfs, []string{name})
	for _, hold := range holds {
		p.refuse("the newer snapshot %s is held: release it with `zfs release %s %s`", name, hold.Tag, name)
	}
	return err
}

// some names a few of many.
func some(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return "not known by name"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(", and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
