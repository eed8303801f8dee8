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
	DestroyNewer  bool // destroy newer snapshots, those of others included
	LayersOnly    bool // go back without Docker's records
	AcceptMissing bool // go back although datasets of limited layers are missing
}

// Plan is a rollback that was checked and not begun.
type Plan struct {
	Layers  string    `json:"layers"`
	Name    string    `json:"name"` // the part after the @
	Event   Event     `json:"event"`
	Time    time.Time `json:"time"`
	Records string    `json:"records,omitempty"` // the records dataset, if it goes back

	RollBack  []string `json:"back"`              // datasets to roll back, the layers dataset first
	Newer     []string `json:"newer,omitempty"`   // newer snapshots of ours, to be destroyed
	Foreign   []string `json:"foreign,omitempty"` // newer snapshots of others, to be destroyed
	MadeSince []string `json:"later,omitempty"`   // datasets of limited layers made since, to be destroyed
	Missing   []string `json:"missing,omitempty"` // datasets of limited layers that do not come back

	Resumes   string   `json:"resumes,omitempty"`  // the snapshot of an unfinished rollback
	Obstacles []string `json:"obstacle,omitempty"` // why the rollback is refused

	zfs     *zfs.Handle
	options Options
}

// ErrRefused is returned when a rollback was not begun. Everything is as it was.
var ErrRefused = errors.New("the rollback is refused and has changed nothing")

// PlanRollback finds out what a rollback to a snapshot does. name is the part after the @. A
// non-empty records has to be the dataset that the snapshot names. Obstacles are part of the
// plan, and Refused returns them. An error means that there is no plan.
func PlanRollback(z *zfs.Handle, layers, records, name string, o Options) (*Plan, error) {
	p := planner{Plan: &Plan{Layers: layers, Name: name, zfs: z, options: o}}
	if err := p.findTarget(records); err != nil {
		return nil, err
	}
	for _, find := range []func() error{p.findChildren, p.findNewer, p.refuseUse} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return p.Plan, nil
}

// Refused returns the reason why the rollback cannot be begun, or nil.
func (p *Plan) Refused() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRefused, strings.Join(p.Obstacles, "; "))
}

// planner fills in a plan.
type planner struct {
	*Plan
	txg    uint64        // the snapshot's transaction group
	limits limitedLayers // the limited layers in it
}

func (p *planner) refuse(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fmt.Sprintf(format, args...))
}

// findTarget finds the snapshot on the layers and records datasets.
func (p *planner) findTarget(records string) error {
	layers, err := p.zfs.DatasetStats(p.Layers)
	if err != nil {
		return err
	}
	p.Resumes = pendingRollback(layers)
	s, err := p.zfs.DatasetStats(snapshotName(p.Layers, p.Name))
	if errors.Is(err, zfs.ErrNotExist) || err == nil && !isOurs(s) {
		return fault.New(fault.NotFound, "dataset %s has no snapshot %s taken by overlayzfs: `overlayzfs snapshots --dataset %s` lists them", p.Layers, p.Name, p.Layers)
	}
	if err != nil {
		return err
	}
	if v := propertyText(s, versionProperty); v != propertyVersion {
		return fault.New(fault.Unsupported, "snapshot %s has version %.20q, and this overlayzfs knows version %s: use the version that took it", p.Name, v, propertyVersion)
	}
	p.Event, p.Time = Event(propertyText(s, eventProperty)), s.Created().UTC()
	p.txg, p.limits = s.CreateTXG, parseLimitedLayers(propertyText(s, limitedProperty))
	p.RollBack = []string{p.Layers}
	p.requireRoom(layers, s)
	return p.findRecords(records, propertyText(s, recordsProperty))
}

// findRecords decides whether Docker's records go back, and on which dataset.
func (p *planner) findRecords(named, inside string) error {
	switch {
	case p.options.LayersOnly && inside == p.Layers:
		return fault.New(fault.Invalid, "dataset %s holds both layers and Docker's records, so one cannot go back without the other", p.Layers)
	case p.options.LayersOnly:
		return nil
	case inside == "":
		p.refuse("snapshot %s holds layers only: it does not bring Docker's records of images and containers back, and they will not match the layers; go back without them with --layers-only, and restore the data-root of that moment by other means", p.Name)
		return nil
	case named != "" && named != inside:
		return fault.New(fault.Invalid, "snapshot %s holds the records dataset %s, not %s", p.Name, inside, named)
	}
	p.Records = inside
	if inside == p.Layers {
		return nil
	}
	s, err := p.zfs.DatasetStats(snapshotName(inside, p.Name))
	if errors.Is(err, zfs.ErrNotExist) || err == nil && (!isOurs(s) || s.CreateTXG != p.txg) {
		p.refuse("the records dataset %s no longer has snapshot %s: go back without Docker's records with --layers-only", inside, p.Name)
		return nil
	}
	if err != nil {
		return err
	}
	p.RollBack = append(p.RollBack, inside)
	stats, err := p.zfs.DatasetStats(inside)
	p.requireRoom(stats, s)
	return err
}

// requireRoom refuses when an administrator's limit is lower than the snapshot's size, as the
// kernel would. The driver sets the limits of limited layers, and rollBackDataset raises them.
func (p *planner) requireRoom(dataset, snapshot zfs.Dataset) {
	if limit := dataset.RefQuota(); limit > 0 && limit < snapshot.Referenced() {
		p.refuse("%s is limited to %d bytes, and its snapshot holds %d: raise it with `zfs set refquota=…`", dataset.Name, limit, snapshot.Referenced())
	}
}

// findChildren sorts the datasets of limited layers into those to roll back, those that are
// destroyed, and those that are missing.
func (p *planner) findChildren() error {
	children, err := limitedChildren(p.zfs, p.Layers)
	if err != nil {
		return err
	}
	there, covered := map[string]bool{}, 0
	for _, child := range children {
		there[keyOf(child.Name)] = true
		s, err := p.zfs.DatasetStats(snapshotName(child.Name, p.Name))
		switch {
		case err == nil && isOurs(s) && s.CreateTXG == p.txg:
			covered++
			p.RollBack = append(p.RollBack, child.Name)
		case err != nil && !errors.Is(err, zfs.ErrNotExist):
			return err
		case child.CreateTXG > p.txg:
			p.MadeSince = append(p.MadeSince, child.Name)
		case child.IsLocalOrReceived(quota.RemovedProperty): // removed before the snapshot was taken
		default:
			p.Missing = append(p.Missing, child.Name)
		}
	}
	for _, key := range p.limits.keys {
		if !there[key] {
			p.Missing = append(p.Missing, p.Layers+"/"+key)
		}
	}
	p.refuseMissing(p.limits.count - covered)
	return p.refuseBelow()
}

// refuseMissing refuses to lose limited layers unless the operator has accepted that. A
// snapshot names only the first keys, so the rest is known by number.
func (p *planner) refuseMissing(short int) {
	if short <= 0 && len(p.Missing) == 0 || p.options.AcceptMissing {
		return
	}
	p.refuse("%d of the %d limited containers in the snapshot have lost their dataset or its snapshot (%s): their files do not come back, and they will not start; go back without them with --accept-missing",
		max(short, len(p.Missing)), p.limits.count, summarize(p.Missing))
}

// refuseBelow refuses to destroy datasets that others made below a dataset of ours.
func (p *planner) refuseBelow() error {
	for _, later := range p.MadeSince {
		below, err := zfs.Collect(p.zfs.Children(later))
		if err != nil {
			return err
		}
		for _, child := range below {
			p.refuse("%s would be destroyed, and %s, which overlayzfs did not make, is below it: rename it", later, child.Name)
		}
	}
	return nil
}

// findNewer finds the snapshots that have to be destroyed, because the kernel goes back only to
// the latest.
func (p *planner) findNewer() error {
	for _, dataset := range p.RollBack {
		if err := p.findNewerOf(dataset, p.txg); err != nil {
			return err
		}
	}
	for _, dataset := range p.MadeSince {
		if err := p.findNewerOf(dataset, 0); err != nil {
			return err
		}
	}
	slices.Sort(p.Newer)
	slices.Sort(p.Foreign)
	if n := len(p.Newer) + len(p.Foreign); n > 0 && !p.options.DestroyNewer {
		p.refuse("%d newer snapshots would be lost, %d of them taken by others (%s): allow it with --destroy-newer", n, len(p.Foreign), summarize(append(p.Foreign[:len(p.Foreign):len(p.Foreign)], p.Newer...)))
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
	if isOurs(s) {
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

// summarize names at most five of many.
func summarize(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return "not known by name"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(", and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// String returns the text of the plan, for a person who has to agree.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Resumes != "" {
		fmt.Fprintf(&b, "A rollback to %s was interrupted; until one is finished the store is not opened.\n", p.Resumes)
	}
	fmt.Fprintf(&b, "Back to snapshot %s (%s, %s):\n", p.Name, p.Event, p.Time.Format(time.DateTime+" MST"))
	for _, dataset := range p.RollBack {
		fmt.Fprintf(&b, "  %s%s\n", dataset, p.role(dataset))
	}
	b.WriteString("All that was written there since is lost. Datasets that are not listed stay as they are.\n")
	if p.Records == "" {
		b.WriteString("Docker's records of images and containers are not in it and stay as they are: they may name layers that are gone.\n")
	}
	writeList(&b, "Newer snapshots of overlayzfs that are destroyed:", p.Newer)
	writeList(&b, "Newer snapshots of OTHERS that are destroyed:", p.Foreign)
	writeList(&b, "Datasets of limited containers made since, which are destroyed:", p.MadeSince)
	writeList(&b, "Datasets of limited containers that do not come back:", p.Missing)
	return b.String()
}

func (p *Plan) role(dataset string) string {
	switch dataset {
	case p.Records:
		return "  (Docker's data-root, its volumes included)"
	case p.Layers:
		return "  (layers)"
	}
	return "  (a limited container)"
}

func writeList(b *strings.Builder, title string, names []string) {
	if len(names) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, name := range names {
		b.WriteString("  " + name + "\n")
	}
}
