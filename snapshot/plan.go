package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Options are what the operator allows a rollback to do.
type Options struct {
	DestroyNewer  bool // destroy newer snapshots, those of others included
	LayersOnly    bool // go back without Docker's records
	AcceptMissing bool // go back although datasets of limited layers are missing

	// Records is the records dataset. A snapshot of ours names its own, and another's does not.
	Records string
	// StateDir is the directory where a rollback keeps what it has unmounted. It has to be
	// empty after a boot. "" is /run.
	StateDir string
}

// Plan is a rollback that was checked and not begun.
type Plan struct {
	Layers  string    `json:"layers"`
	Name    string    `json:"name"` // the part after the @
	Event   Event     `json:"event"`
	Time    time.Time `json:"time"`
	Records string    `json:"records,omitempty"` // the records dataset, if it goes back

	RollBack  []string `json:"back"`                // datasets to roll back, the layers dataset first
	Newer     []string `json:"newer,omitempty"`     // newer snapshots of ours, to be destroyed
	Foreign   []string `json:"foreign,omitempty"`   // newer snapshots of others, to be destroyed
	Bookmarks []string `json:"bookmarks,omitempty"` // newer bookmarks, to be destroyed
	MadeSince []string `json:"later,omitempty"`     // datasets of limited layers made since, to be destroyed
	Missing   []string `json:"missing,omitempty"`   // datasets of limited layers that do not come back
	Spares    []string `json:"spares,omitempty"`    // those of all these that have no layer yet

	// Kept are the file systems below the records dataset that keep their content.
	Kept []string `json:"kept,omitempty"`
	// Mounts are the mounts of these datasets, and those below them, in the order in which they
	// are mounted. They are unmounted for the rollback and mounted again.
	Mounts []Mount `json:"mounts,omitempty"`
	// Lost are the binds that Do could not make again: the directory is not in the snapshot.
	Lost []Mount `json:"lost,omitempty"`

	Resumes   string   `json:"resumes,omitempty"`  // the snapshot of an unfinished rollback
	Obstacles []string `json:"obstacle,omitempty"` // why the rollback is refused

	zfs     *zfs.Handle
	options Options
}

// ErrRefused is returned when a rollback was not begun. Everything is as it was.
var ErrRefused = errors.New("the rollback is refused and has changed nothing")

// PlanRollback finds out what a rollback to a snapshot does. name is the part after the @.
// Obstacles are part of the plan, and Refused returns them. An error means that there is no
// plan.
func PlanRollback(z *zfs.Handle, layers, name string, o Options) (*Plan, error) {
	o.StateDir = cmp.Or(o.StateDir, "/run")
	p := planner{Plan: &Plan{Layers: layers, Name: name, zfs: z, options: o}, txgs: map[string]uint64{}}
	if err := p.findTarget(); err != nil {
		return nil, err
	}
	for _, find := range []func() error{p.findChildren, p.findNewer, p.findKept, p.findMounts, p.refuseLocked} {
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
	target zfs.Dataset       // the snapshot of the layers dataset
	txgs   map[string]uint64 // of the snapshot, by the dataset that goes back
	limits limitedLayers     // the limited layers in it
}

// add adds a dataset that goes back.
func (p *planner) add(dataset string, snapshot zfs.Dataset) {
	p.RollBack = append(p.RollBack, dataset)
	p.txgs[dataset] = snapshot.CreateTXG
}

func (p *planner) refuse(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fmt.Sprintf(format, args...))
}

// findTarget finds the snapshot on the layers and records datasets.
func (p *planner) findTarget() error {
	layers, err := p.zfs.DatasetStats(p.Layers)
	if err != nil {
		return err
	}
	if p.Resumes = pendingRollback(layers); p.Resumes != "" && p.options.Records == "" && layers.IsLocal(rollbackRecordsProperty) {
		p.options.Records = propertyText(layers, rollbackRecordsProperty)
	}
	p.target, err = p.zfs.DatasetStats(snapshotName(p.Layers, p.Name))
	if errors.Is(err, zfs.ErrNotExist) {
		return fault.New(fault.NotFound, "dataset %s has no snapshot %s: `overlayzfs snapshots --dataset %s` lists those of overlayzfs, `zfs list -t snapshot %s` all", p.Layers, p.Name, p.Layers, p.Layers)
	}
	if err != nil {
		return err
	}
	p.Time = p.target.Created().UTC()
	p.add(p.Layers, p.target)
	p.requireRoom(layers, p.target)
	if !isOurs(p.target) {
		return p.findForeign()
	}
	if v := propertyText(p.target, versionProperty); v != propertyVersion {
		return fault.New(fault.Unsupported, "snapshot %s has version %.20q, and this overlayzfs knows version %s: use the version that took it", p.Name, v, propertyVersion)
	}
	p.Event, p.limits = Event(propertyText(p.target, eventProperty)), parseLimitedLayers(propertyText(p.target, limitedProperty))
	return p.findRecords(propertyText(p.target, recordsProperty))
}

// findForeign reads of a snapshot of another program what one of ours says by itself: which
// limited layers it has. The operator names the records dataset.
func (p *planner) findForeign() error {
	keys, err := readLimitedKeys(p.target.Name)
	if err != nil {
		return err
	}
	p.limits = limitedLayers{len(keys), keys}
	return p.findRecords(p.options.Records)
}

// findRecords decides whether Docker's records go back, and on which dataset. inside is the
// dataset that the snapshot names. A store that was received may have another now.
func (p *planner) findRecords(inside string) error {
	named := p.options.Records
	switch {
	case p.options.LayersOnly && inside == p.Layers:
		return fault.New(fault.Invalid, "dataset %s holds both layers and Docker's records, so one cannot go back without the other", p.Layers)
	case p.options.LayersOnly:
		return nil
	case inside == "":
		p.refuse("snapshot %s holds layers only: it does not bring Docker's records of images and containers back, and they will not match the layers; go back without them with --layers-only, and restore the data-root of that moment by other means", p.Name)
		return nil
	case named != "" && named != inside && p.target.IsLocal(eventProperty):
		// The dataset or its pool may have been renamed since.
		there, err := p.zfs.Exists(snapshotName(inside, p.Name))
		if err == nil && there {
			err = fault.New(fault.Invalid, "snapshot %s holds the records dataset %s, not %s", p.Name, inside, named)
		}
		if err != nil {
			return err
		}
	}
	p.Records = cmp.Or(named, inside)
	if p.Records == p.Layers {
		return nil
	}
	s, err := p.zfs.DatasetStats(snapshotName(p.Records, p.Name))
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		p.refuse("the records dataset %s does not have snapshot %s: name the dataset of Docker's data-root with --records, or go back without Docker's records with --layers-only", p.Records, p.Name)
		return nil
	case err != nil:
		return err
	case !isSameMoment(p.target, s):
		p.refuse("the snapshots %s of the layers and of the records dataset %s were not taken in one step, so they do not match: choose a snapshot that was taken of both at once (`zfs snapshot -r`, sanoid with recursive=zfs), or go back without Docker's records with --layers-only", p.Name, p.Records)
		return nil
	}
	p.add(p.Records, s)
	stats, err := p.zfs.DatasetStats(p.Records)
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
