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
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Request says which migration the operator wants.
type Request struct {
	Root   string // Docker's data-root
	Config string // daemon.json; empty to leave it alone
	// ReadConfig is the daemon.json that is read for its limits when Config is empty.
	ReadConfig string
	// PluginOptions are the plugin's storage options.
	PluginOptions []string
	// Driver is the plugin's name in Docker's records. Its store lies on Dataset;
	// when Dataset is empty, in the directory Home.
	Driver  string
	Dataset string
	Home    string
	// From is the old driver. Empty means the only driver that has images or containers.
	From string
	// ZFSDataset holds the layers of moby's zfs driver.
	ZFSDataset string
	// Back migrates from the plugin to the driver To: overlay2 or zfs. An empty To means
	// the driver of a started migration, or else overlay2.
	Back    bool
	To      string
	Reclaim bool
	// Skip names images to leave out, by name or ID.
	Skip []string
	// ImageStore is where images go when the target is containerd's image store. Driver is
	// the snapshotter's name then, and there is no Dataset or Home.
	ImageStore *imagestore.Target
	// FindPlugin returns the store of the plugin that has this name in Docker's records. It is
	// called when the target is the image store and the plugin is the old driver.
	FindPlugin func(driver string) (PluginStore, error)
	// AskLimits fails when nothing would set containers' limits in the image store.
	AskLimits func() error
	// Action says what to do with a started migration.
	Action Action
}

// Action says what a command does with a migration.
type Action string

// The actions.
const (
	ActionMigrate Action = ""
	ActionUndo    Action = "undo"
	ActionFinish  Action = "finish"
)

// Plan describes a migration before it runs.
type Plan struct {
	Root string `json:"root"`
	Job  Job    `json:"job"`
	// Driver names Docker's records that the counts below are from.
	Driver     string `json:"driver,omitempty"`
	Images     int    `json:"images"`
	Layers     int    `json:"layers"`
	Containers int    `json:"containers"`
	// Bytes is the most that is copied, Available the free space at the target.
	Bytes     int64  `json:"bytes"`
	Available uint64 `json:"available,omitempty"`
	// ContentBytes is what the blobs of images take, ContentAvailable the free space for them.
	ContentBytes     int64  `json:"content_bytes,omitempty"`
	ContentAvailable uint64 `json:"content_available,omitempty"`
	// Resumed is set for a migration that was started before.
	Resumed bool `json:"resumed,omitempty"`
	// Notes inform the operator. Obstacles prevent the migration.
	Notes     []string `json:"notes,omitempty"`
	Obstacles []string `json:"obstacles,omitempty"`
}

// Obstacles are the reasons why a plan cannot run.
type Obstacles []string

// Error joins all reasons.
func (o Obstacles) Error() string { return strings.Join(o, "; ") }

// MarshalJSON omits the copy of daemon.json: the plan is shown to people, and
// daemon.json can hold secrets.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan // without this method
	p.Job.ConfigWas = nil
	return json.Marshal(plain(p))
}

// CheckObstacles returns the obstacles as an error, or nil when there are none.
func (p *Plan) CheckObstacles() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return Obstacles(p.Obstacles)
}

func (p *Plan) addObstacle(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fault.Printable(fmt.Sprintf(format, args...)))
}

func (p *Plan) addNote(format string, args ...any) {
	p.Notes = append(p.Notes, fault.Printable(fmt.Sprintf(format, args...)))
}

// planner collects what a plan needs.
type planner struct {
	Request
	root        *dataRoot
	docker      *dockerstore.Root
	records     *dockerstore.Records
	items       []item
	storeLayers []overlayzfs.LayerInfo // the store's layers
	sizes       map[string]int64       // of the layers to copy, by ID
	plan        *Plan
}

// MakePlan returns the plan of a migration and changes nothing. A started
// migration takes precedence over what the request names.
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

// resolve replaces symlinks in the path of the data-root and of the store's directory,
// because the mount table has real paths. The path of daemon.json becomes absolute:
// the journal keeps it, and a later command can run in another directory.
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

// planNew plans a migration that was not started before.
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
	if p.ImageStore != nil {
		p.plan.Job.Method = Import
		if err := p.plan.Job.requireNoneImported(p.root); err != nil {
			p.plan.addObstacle("%v", err)
		}
	}
	if err := p.planSkip(); err != nil {
		return err
	}
	p.plan.Job.skipImages(records)
	dropped, err := p.plan.Job.dropUnneeded(p.root, records)
	if err != nil {
		return err
	}
	for _, id := range dropped {
		then := "--finish deletes it"
		if p.plan.Job.isFromStore() {
			then = "it stays in the plugin's store"
		}
		p.plan.addNote("the writable layer of %.12s is left out, because Docker has no such container; %s", id, then)
	}
	if err := p.countRecords(); err != nil {
		return err
	}
	p.checkComplete()
	if has, err := p.root.hasRecords(imageDir(p.plan.Job.To)); err != nil {
		return err
	} else if has && !p.plan.Job.keepsDriverName() {
		p.plan.addObstacle("Docker already has images or containers under the driver %s: migration needs an empty store; remove them first", p.plan.Job.To)
	}
	if err := p.planConfig(); err != nil {
		return err
	}
	if err := p.planLayers(); err != nil || p.Back {
		return err
	}
	p.noteSkipped()
	p.noteOverlayfs()
	return nil
}

// planLayers plans how layers get to the new driver.
func (p *planner) planLayers() error {
	if p.ImageStore != nil {
		return p.planImport()
	}
	if err := p.checkStoreUnused(); err != nil {
		return err
	}
	if p.Back {
		err := p.planBack()
		p.noteSkipped()
		return err
	}
	err := p.planForward()
	if err == nil {
		p.checkReclaim()
	}
	return err
}

// noteOverlayfs tells what programs could do on other file systems, and cannot on overlayfs.
func (p *planner) noteOverlayfs() {
	if p.plan.Job.isFromStore() {
		return
	}
	if p.plan.Job.From != overlay2Dir {
		p.plan.addNote("on overlayfs a program in a container cannot rename a directory of its image without copying it, nor use chattr; a file opened for reading before its first change keeps the old content: see docs/migration.md#what-overlayfs-cannot-do")
	}
	limited := 0
	for _, it := range p.items {
		if len(it.limit) > 0 {
			limited++
		}
	}
	if limited > 0 {
		p.plan.addNote("%d containers with a limit get inode numbers above 2^32, which a 32-bit program without large-file support cannot read; overlayzfs.xino=off avoids it: see docs/limits.md#inode-numbers", limited)
	}
}

// checkStoreUnused reads the store's layers and adds an obstacle while a plugin has
// the store open. Under live-restore the plugin outlives dockerd.
func (p *planner) checkStoreUnused() (err error) {
	view, err := p.openView()
	if errors.Is(err, fault.NotFound) {
		return nil // the store does not exist yet
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return p.readStore(view, func(door string) {
		p.plan.addObstacle("the store belongs to %s: give the plugin its own dataset", door)
	})
}

// readStore reads the layers of the plugin's store. It adds an obstacle while a plugin has the
// store open, and calls foreign with the name of another door that the store belongs to.
func (p *planner) readStore(view *overlayzfs.StoreView, foreign func(door string)) error {
	if err := view.RequireUnused(); errors.Is(err, fault.Busy) {
		p.plan.addObstacle("the plugin is still running: %v; stop dockerd without live-restore", err)
	} else if err != nil {
		return err
	}
	door, err := view.Door()
	if err != nil {
		return err
	}
	if door != "" {
		foreign(door)
	}
	p.storeLayers, err = view.Layers()
	return err
}

func (p *planner) openView() (*overlayzfs.StoreView, error) {
	if p.Dataset != "" {
		return overlayzfs.OpenDatasetReadOnly(p.Dataset)
	}
	return overlayzfs.OpenHomeReadOnly(p.Home)
}

// chooseDrivers sets the job's old and new driver.
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
	if !dockerconf.IsBuiltin(j.From) && p.ImageStore == nil {
		return fault.New(fault.Invalid, "--from %q is not a built-in driver of Docker", j.From)
	}
	return nil
}

// findDriver chooses the only other driver that has images or containers.
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
		if has && (driver != p.Driver || p.ImageStore != nil) { // the plugin and the snapshotter share a name
			found = append(found, driver)
		}
	}
	switch len(found) {
	case 1:
		p.plan.Job.From = found[0]
		return nil
	case 0:
		return fault.New(fault.NotFound, "nothing to migrate: %s has no images or containers of a driver other than %s", p.Root, p.Driver)
	}
	return fault.New(fault.Invalid, "several drivers have images (%s): choose one with --from", strings.Join(found, ", "))
}

// checkDockerdStopped adds an obstacle while dockerd or a container runs.
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

// checkComplete adds obstacles for damaged and incomplete records: layers whose
// records are not understood must not be moved.
func (p *planner) checkComplete() {
	var why Obstacles
	if errors.As(requireComplete(p.records), &why) {
		for _, text := range why {
			p.plan.addObstacle("%s", text)
		}
	}
	for driver, container := range p.records.OtherDrivers {
		p.plan.Notes = append(p.plan.Notes, fault.Printable(fmt.Sprintf("containers of the driver %s (such as %.12s) are not migrated", driver, container)))
	}
}
