package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Wanted is what is asked for.
type Wanted struct {
	Root   string // Docker's data-root
	Config string // daemon.json; empty to leave it alone
	// Driver is the plugin's name, in Docker's records. Its store lies on Dataset
	// or, without one, in the directory Home.
	Driver  string
	Dataset string
	Home    string
	// From is the driver to come from; empty: the only one that has something.
	From string
	// FromDataset is where moby's zfs driver has its layers.
	FromDataset string
	// Back: from the plugin to overlay2.
	Back    bool
	Reclaim bool
	// Action is what is to be done about a migration that was begun.
	Action Action
}

// Action is what to do.
type Action string

// The actions.
const (
	Forward  Action = ""
	Backward Action = "undo"
	Ending   Action = "finish"
)

// Plan is a migration thought through.
type Plan struct {
	Root       string `json:"root"`
	Job        Job    `json:"job"`
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

// Refused is the obstacles as an error; nil when there are none.
func (p *Plan) Refused() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return Obstacles(p.Obstacles)
}

func (p *Plan) obstacle(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fault.Printable(fmt.Sprintf(format, args...)))
}

// planner makes a plan.
type planner struct {
	Wanted
	root    *dataRoot
	docker  *dockerstore.Root
	records *dockerstore.Records
	items   []item
	plan    *Plan
}

// Look thinks a migration through, and changes nothing. A migration that was
// begun is gone on with, whatever is wanted.
func Look(w Wanted) (_ *Plan, err error) {
	r, err := openDataRoot(w.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	docker, err := dockerstore.Open(w.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	p := &planner{Wanted: w, root: r, docker: docker, plan: &Plan{Root: w.Root}}
	job, err := readJob(r)
	if err != nil {
		return nil, err
	}
	if job != nil {
		p.plan.Job, p.plan.Resumed = *job, true
		return p.plan, p.resume()
	}
	if w.Action != Forward {
		return nil, errNoJob
	}
	return p.plan, p.begin()
}

// resume looks at a migration that was begun.
func (p *planner) resume() error {
	p.running()
	if err := p.plan.Job.allows(p.Action); err != nil {
		p.plan.obstacle("%v", err)
	}
	for _, driver := range []string{p.plan.Job.From, p.plan.Job.To} {
		records, err := p.docker.Read(driver)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		p.records = records
		return errors.Join(p.count(), p.newer())
	}
	return nil
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

// begin plans a new migration.
func (p *planner) begin() error {
	if err := p.drivers(); err != nil {
		return err
	}
	p.running()
	records, err := p.docker.Read(p.plan.Job.From)
	if err != nil {
		return err
	}
	p.records = records
	if err := p.count(); err != nil {
		return err
	}
	p.whole()
	if has, err := p.root.hasRecords(imageDir(p.plan.Job.To)); err != nil {
		return err
	} else if has {
		p.plan.obstacle("Docker has images or containers under the driver %s already, and two sets are not merged: remove those first", p.plan.Job.To)
	}
	if err := p.config(); err != nil {
		return err
	}
	if p.Back {
		return p.wayBack()
	}
	return p.way()
}

// drivers decides from where to where.
func (p *planner) drivers() error {
	j := &p.plan.Job
	if p.Back {
		j.From, j.To = p.Driver, "overlay2"
		return nil
	}
	j.From, j.To = p.From, p.Driver
	if j.From == "" {
		return p.findDriver()
	}
	if !builtin(j.From) {
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

// running notes that dockerd has to be stopped.
func (p *planner) running() {
	release, err := p.root.quiet()
	if err == nil {
		err = release()
	}
	if err != nil {
		p.plan.obstacle("%v", err)
	}
}

func (p *planner) count() (err error) {
	p.items, err = itemsOf(p.records, p.docker.StorageOptions)
	p.plan.Images, p.plan.Layers, p.plan.Containers = len(p.records.Images), len(p.items), len(p.records.Containers)
	return err
}

// whole refuses records that are damaged or lack something: what is not
// understood is not moved.
func (p *planner) whole() {
	for _, damage := range p.records.Damaged {
		p.plan.obstacle("a record of Docker is not understood: %v", damage)
	}
	for _, gap := range p.records.Gaps() {
		p.plan.obstacle("Docker's records are not whole: %v; remove what lacks it", gap)
	}
	for driver, container := range p.records.Elsewhere {
		p.plan.Notes = append(p.plan.Notes, fault.Printable(fmt.Sprintf("containers of the driver %s, %.12s for one, stay as they are", driver, container)))
	}
	dir := p.plan.Job.From
	if p.Back {
		dir = "plugins"
	}
	if err := requireUnmounted(filepath.Join(p.Root, dir)); err != nil {
		p.plan.obstacle("%v", err)
	}
}

// config notes what daemon.json says.
func (p *planner) config() error {
	if p.Config == "" {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("daemon.json is left alone: have dockerd use the driver %s yourself", p.plan.Job.To))
		return nil
	}
	f, err := readFields(p.Config)
	if err != nil {
		return err
	}
	p.plan.Job.Config, p.plan.Job.Before = p.Config, f.before()
	return nil
}

// way decides how layers get to the store.
func (p *planner) way() error {
	j := &p.plan.Job
	j.Layers, j.Dataset, j.Reclaim = j.From, p.Dataset, p.Reclaim
	if p.Dataset == "" {
		target, err := filepath.Rel(p.Root, p.Home)
		if err != nil {
			return err
		}
		j.Target = target
	}
	if j.From == "overlay2" {
		adopted, err := p.adopt()
		if err != nil || adopted {
			return err
		}
	}
	j.Way = Copy
	if _, known := layouts[j.From]; !known && j.From != "zfs" {
		return fault.New(fault.Unsupported, "there is no way from the driver %s: known are overlay2, zfs, vfs and btrfs. Save its images with `docker save` and load them afterwards", j.From)
	}
	if err := p.from(); err != nil {
		return err
	}
	return p.room()
}

// from finds out where moby's zfs driver has its layers.
func (p *planner) from() (err error) {
	j := &p.plan.Job
	if j.From == "zfs" {
		if j.FromDataset = p.FromDataset; j.FromDataset == "" {
			j.FromDataset, err = zfs.DatasetOf(p.Root)
		}
		if err != nil {
			return fmt.Errorf("where the driver zfs has its layers: name the dataset of zfs.fsname with --from-dataset: %w", err)
		}
	}
	if j.From == "overlay2" {
		j.Share = p.samePool(filepath.Join(p.Root, "overlay2"))
	}
	return p.present()
}

// samePool reports whether a directory lies on the store's pool.
func (p *planner) samePool(dir string) bool {
	onZFS, err := zfs.IsZFS(dir)
	if err != nil || !onZFS {
		return false
	}
	dataset, err := zfs.DatasetOf(dir)
	return err == nil && poolOf(dataset) == poolOf(p.Dataset)
}

func poolOf(dataset string) string {
	pool, _, _ := strings.Cut(dataset, "/")
	return pool
}

// present makes sure that every layer is there to be carried.
func (p *planner) present() (err error) {
	s, closeSource, err := p.plan.Job.newSource(p.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	for _, it := range p.items {
		layer, err := s.open(it.id)
		if err != nil {
			p.plan.obstacle("layer %s, which Docker has recorded, cannot be read: %v", it.id, err)
			continue
		}
		if it.image == nil {
			p.plan.Bytes += p.allocated(it.id)
		}
		p.plan.Bytes += it.size
		if err := layer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// allocated is how much of a container's layer is its own, where that is known
// without comparing.
func (p *planner) allocated(id string) int64 {
	if p.plan.Job.From != "zfs" {
		return 0
	}
	z, err := zfs.Open()
	if err != nil {
		return 0
	}
	defer z.Close()
	stats, err := z.DatasetStats(p.plan.Job.FromDataset + "/" + id)
	if err != nil {
		return 0
	}
	return int64(stats.Used())
}

// room makes sure that all of it fits, before anything is carried.
func (p *planner) room() error {
	dataset := p.Dataset
	if dataset == "" {
		var err error
		if dataset, err = zfs.DatasetOf(p.Root); err != nil {
			return fmt.Errorf("the plugin has no dataset, and the data-root is not on ZFS: set overlayzfs.dataset (`docker plugin set`) while dockerd runs: %w", err)
		}
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	stats, err := z.DatasetStats(dataset)
	if err := errors.Join(err, z.Close()); err != nil {
		return err
	}
	p.plan.Available = stats.Available()
	p.fits(dataset)
	return nil
}

// roomIn is room for a directory on any file system.
func (p *planner) roomIn(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	p.plan.Available = st.Bavail * uint64(st.Bsize)
	p.fits(dir)
	return nil
}

// fits refuses what has no room.
func (p *planner) fits(where string) {
	if need := uint64(p.plan.Bytes); need > p.plan.Available && !p.plan.Job.Share && !p.Reclaim {
		p.plan.obstacle("up to %d bytes are to be carried, and %s has room for %d: make room, or say --reclaim to delete old layers as they are carried", need, where, p.plan.Available)
	}
}

// limited are the containers that have a limit.
func (p *planner) limited() (ids []string) {
	for _, it := range p.items {
		if len(it.limit) > 0 {
			ids = append(ids, it.of)
		}
	}
	slices.Sort(ids)
	return ids
}
