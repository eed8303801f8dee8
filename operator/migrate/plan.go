package migrate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Request is what is asked for.
type Request struct {
	Root   string // Docker's data-root
	Config string // daemon.json; empty to leave it alone
	// Driver is the plugin's name, in Docker's records. Its store lies on Dataset
	// or, without one, in the directory Home.
	Driver  string
	Dataset string
	Home    string
	// From is the driver to come from; empty: the only one that has something.
	From string
	// ZFSDataset is where moby's zfs driver has its layers.
	ZFSDataset string
	// Back: from the plugin to the driver To, overlay2 or zfs; empty: overlay2, or that
	// of a migration which was begun.
	Back    bool
	To      string
	Reclaim bool
	// Action is what is to be done about a migration that was begun.
	Action Action
}

// Action is what to do.
type Action string

// The actions.
const (
	ActionMigrate Action = ""
	ActionUndo    Action = "undo"
	ActionFinish  Action = "finish"
)

// Plan is a migration thought through.
type Plan struct {
	Root string `json:"root"`
	Job  Job    `json:"job"`
	// Driver is the one under which Docker has these images, layers and containers.
	Driver     string `json:"driver,omitempty"`
	Images     int    `json:"images"`
	Layers     int    `json:"layers"`
	Containers int    `json:"containers"`
	// Bytes is how much is to be carried at most, Available what there is room for.
	Bytes     int64  `json:"bytes"`
	Available uint64 `json:"available,omitempty"`
	// Resumed: it was begun before.
	Resumed bool `json:"resumed,omitempty"`
	// Notes are what else to know, Obstacles why it cannot be begun.
	Notes     []string `json:"notes,omitempty"`
	Obstacles []string `json:"obstacles,omitempty"`
}

// Obstacles are why a plan is not carried out.
type Obstacles []string

// Error names them all.
func (o Obstacles) Error() string { return strings.Join(o, "; ") }

// MarshalJSON leaves out what else is in daemon.json: it can have secrets, and a
// plan is shown.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan // without this method
	p.Job.ConfigWas = nil
	return json.Marshal(plain(p))
}

// CheckObstacles is the obstacles as an error; nil when there are none.
func (p *Plan) CheckObstacles() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return Obstacles(p.Obstacles)
}

func (p *Plan) addObstacle(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fault.Printable(fmt.Sprintf(format, args...)))
}

// planner makes a plan.
type planner struct {
	Request
	root        *dataRoot
	docker      *dockerstore.Root
	records     *dockerstore.Records
	items       []item
	storeLayers []overlayzfs.LayerInfo // layers that the store holds
	sizes       map[string]int64       // of layers, as far as they are carried
	plan        *Plan
}

// MakePlan thinks a migration through, and changes nothing. A migration that was
// begun is gone on with, whatever is wanted.
func MakePlan(w Request) (_ *Plan, err error) {
	r, err := openDataRoot(w.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := w.resolve(r); err != nil {
		return nil, err
	}
	docker, err := dockerstore.Open(w.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	p := &planner{Request: w, root: r, docker: docker, plan: &Plan{Root: w.Root}}
	job, err := readJob(r)
	if err != nil {
		return nil, err
	}
	if job != nil {
		p.plan.Job, p.plan.Resumed = *job, true
		if w.Config == "" {
			p.plan.Job.Config = ""
		}
		return p.plan, p.planResume()
	}
	if w.Action != ActionMigrate {
		return nil, errNoJob
	}
	return p.plan, p.planNew()
}

// resolve names the data-root, and the store's directory in it, as the mount table
// does: without symlinks. daemon.json's name goes into the journal, and has to mean
// the same in another directory.
func (w *Request) resolve(r *dataRoot) error {
	if w.Config != "" {
		config, err := filepath.Abs(w.Config)
		if err != nil {
			return err
		}
		w.Config = config
	}
	if w.Home != "" {
		home, err := filepath.Rel(w.Root, w.Home)
		if err != nil {
			return err
		}
		w.Home = filepath.Join(r.Name(), home)
	}
	w.Root = r.Name()
	return nil
}

// planNew plans a new migration.
func (p *planner) planNew() error {
	if err := p.chooseDrivers(); err != nil {
		return err
	}
	p.checkDockerdStopped()
	records, err := p.docker.Read(p.plan.Job.From)
	if err != nil {
		return err
	}
	p.records = records
	if err := p.countRecords(); err != nil {
		return err
	}
	p.checkComplete()
	if has, err := p.root.hasRecords(imageDir(p.plan.Job.To)); err != nil {
		return err
	} else if has {
		p.plan.addObstacle("Docker has images or containers under the driver %s already, and two sets are not merged: remove those first", p.plan.Job.To)
	}
	if err := p.planConfig(); err != nil {
		return err
	}
	if err := p.checkStoreUnused(); err != nil {
		return err
	}
	if p.Back {
		return p.planBack()
	}
	if err := p.planForward(); err != nil {
		return err
	}
	p.checkReclaim()
	return nil
}

// checkStoreUnused makes sure that no plugin has the store open: under live-restore it
// outlives dockerd.
func (p *planner) checkStoreUnused() (err error) {
	view, err := p.openView()
	if errors.Is(err, fault.NotFound) {
		return nil // there is none yet
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if err := view.RequireUnused(); errors.Is(err, fault.Busy) {
		p.plan.addObstacle("the plugin still runs: %v. Stop it with dockerd, without live-restore", err)
	} else if err != nil {
		return err
	}
	door, err := view.Door()
	if err != nil {
		return err
	}
	if door != "" {
		p.plan.addObstacle("the store is kept by %s: give the plugin a dataset of its own", door)
	}
	p.storeLayers, err = view.Layers()
	return err
}

func (p *planner) openView() (*overlayzfs.StoreView, error) {
	if p.Dataset != "" {
		return overlayzfs.OpenDatasetReadOnly(p.Dataset)
	}
	return overlayzfs.ViewHome(p.Home)
}

// chooseDrivers decides from where to where.
func (p *planner) chooseDrivers() error {
	j := &p.plan.Job
	if p.Back {
		j.From, j.To = p.Driver, cmp.Or(p.To, overlay2Dir)
		return checkBackDriver(j.To)
	}
	j.From, j.To = p.From, p.Driver
	if j.From == "" {
		return p.findDriver()
	}
	if !dockerconf.IsBuiltin(j.From) {
		return fault.New(fault.Invalid, "%q is none of Docker's own drivers", j.From)
	}
	return nil
}

// findDriver takes the only driver that has images or containers.
func (p *planner) findDriver() error {
	drivers, err := p.docker.Drivers()
	if err != nil {
		return err
	}
	var found []string
	for _, driver := range drivers {
		has, err := p.root.hasRecords(imageDir(driver))
		if err != nil {
			return err
		}
		if has && driver != p.Driver {
			found = append(found, driver)
		}
	}
	switch len(found) {
	case 1:
		p.plan.Job.From = found[0]
		return nil
	case 0:
		return fault.New(fault.NotFound, "Docker has no images or containers in %s under another driver than %s: there is nothing to migrate", p.Root, p.Driver)
	}
	return fault.New(fault.Invalid, "Docker has images under several drivers (%s): say which with --from", strings.Join(found, ", "))
}

// checkDockerdStopped notes that dockerd and all containers have to be stopped.
func (p *planner) checkDockerdStopped() {
	release, err := p.root.lockDockerd()
	if err == nil {
		err = errors.Join(p.root.requireStopped(procDir), release())
	}
	if err != nil {
		p.plan.addObstacle("%v", err)
	}
}

func (p *planner) countRecords() (err error) {
	p.items, err = listItems(p.records, p.docker.StorageOptions)
	p.plan.Driver = p.records.Driver
	p.plan.Images, p.plan.Layers, p.plan.Containers = len(p.records.Images), len(p.items), len(p.records.Containers)
	return err
}

// checkComplete refuses records that are damaged or lack something: what is not
// understood is not moved.
func (p *planner) checkComplete() {
	var why Obstacles
	if errors.As(requireComplete(p.records), &why) {
		for _, text := range why {
			p.plan.addObstacle("%s", text)
		}
	}
	for driver, container := range p.records.OtherDrivers {
		p.plan.Notes = append(p.plan.Notes, fault.Printable(fmt.Sprintf("containers of the driver %s, %.12s for one, stay as they are", driver, container)))
	}
}
