package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// PluginStore is where the plugin has its layers.
type PluginStore struct {
	Dataset string   // "" when the layers lie in Home
	Home    string   // the host's path of the store's directory
	Options []string // the plugin's storage options
}

// keepsDriverName reports whether the plugin and the snapshotter, between which an Import goes,
// have one name in Docker's records. A container is the plugin's then if Docker has a record of
// its layer.
func (j *Job) keepsDriverName() bool { return j.Method == Import && j.From == j.To }

// sourceDataset returns the dataset of the plugin's store, or "" when that is the directory Layers.
func (j *Job) sourceDataset() string {
	if j.Method == Import {
		return j.PluginDataset
	}
	return j.Dataset
}

// SourceStore returns the plugin's store that an Import copies from, and whether there is one.
func (j *Job) SourceStore(root string) (store PluginStore, ok bool) {
	if j.Method != Import || !j.isFromStore() {
		return store, false
	}
	store.Dataset = j.PluginDataset
	if store.Dataset == "" {
		store.Home = filepath.Join(root, j.Layers)
	}
	return store, true
}

// openPluginStore opens a view of the plugin's store.
func (j *Job) openPluginStore(root string) (*overlayzfs.StoreView, error) {
	if dataset := j.sourceDataset(); dataset != "" {
		return openWhenIdle(func() (*overlayzfs.StoreView, error) { return overlayzfs.OpenDatasetReadOnly(dataset) })
	}
	return overlayzfs.OpenHomeReadOnly(filepath.Join(root, j.Layers))
}

// planPlugin finds the plugin's store when an Import comes from there. The store has the limits
// that containers have now.
func (p *planner) planPlugin() error {
	j := &p.plan.Job
	if !j.isFromStore() {
		return nil
	}
	store, err := p.FindPlugin(j.From)
	if err != nil {
		return err
	}
	j.PluginDataset, j.Layers = store.Dataset, ""
	if store.Dataset == "" {
		// The plugin's directory is named by its path without symlinks.
		home, err := filepath.EvalSymlinks(store.Home)
		if err == nil {
			j.Layers, err = filepath.Rel(p.Root, home)
		}
		if err != nil {
			return fmt.Errorf("find the plugin's directory: %w", err)
		}
	}
	if err := p.readPluginStore(); err != nil {
		return err
	}
	setStoreLimits(p.items, p.records, p.storeLayers)
	p.notePluginOptions(store.Options)
	return nil
}

// readPluginStore reads the plugin's layers, and adds an obstacle for a store that is used or not
// the plugin's.
func (p *planner) readPluginStore() (err error) {
	view, err := p.plan.Job.openPluginStore(p.Root)
	if err != nil {
		return fmt.Errorf("the layers of the plugin %s: %w", p.plan.Job.From, err)
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	err = p.readStore(view, func(door string) {
		where := cmp.Or(p.plan.Job.PluginDataset, p.plan.Job.Layers)
		p.plan.addObstacle("%s has the layers of %s, not the plugin's: name the plugin's dataset with --dataset", where, door)
	})
	if err != nil {
		return err
	}
	p.checkPluginLayers()
	return nil
}

// checkPluginLayers adds an obstacle for each layer that is not what Docker has recorded. Layers
// that cannot be read get theirs by checkLayersPresent.
func (p *planner) checkPluginLayers() {
	items := indexByID(p.items)
	for _, l := range p.storeLayers {
		it, wanted := items[l.ID]
		switch {
		case !wanted:
		case l.Damaged != nil:
			p.plan.addObstacle("layer %s: %v%s", it.id, l.Damaged, p.skipAdvice(it))
		case l.Parent != it.parent:
			p.plan.addObstacle("layer %s has the parent %q in the plugin's store, but Docker has recorded %q", it.id, l.Parent, it.parent)
		}
	}
}

// checkPluginApart adds an obstacle when the snapshotter is set to use the plugin's dataset.
func (p *planner) checkPluginApart() error {
	if j := p.plan.Job; j.PluginDataset != "" && j.PluginDataset == j.Dataset {
		return fault.New(fault.Invalid, "the snapshotter's layers lie on %s, the plugin's dataset: give the snapshotter a dataset of its own in snapshotter.toml", j.Dataset)
	}
	return nil
}

// setStoreLimits gives containers' layers the limits that they have in the plugin's store.
// Docker's records know neither the plugin's defaults nor what `overlayzfs limit` has changed.
func setStoreLimits(items []item, records *dockerstore.Records, layers []overlayzfs.LayerInfo) {
	limits := map[string]map[string]string{}
	for _, l := range layers {
		if l.Limit == nil {
			continue
		}
		limit := map[string]string{}
		for name, value := range map[string]uint64{"size": l.Limit.Bytes, "inodes": l.Limit.Inodes} {
			if value > 0 {
				limit[name] = strconv.FormatUint(value, 10)
			}
		}
		limits[l.ID] = limit
	}
	for i, it := range items {
		if slices.ContainsFunc(records.Mounts, func(m dockerstore.Mount) bool { return m.MountID == it.id }) {
			items[i].limit = limits[it.id]
		}
	}
}

// notePluginOptions tells what of the plugin's settings does not come along.
func (p *planner) notePluginOptions(options []string) {
	const where = "the plugin's option %s does not come along: set what corresponds to it in snapshotter.toml, if the snapshotter is to have it"
	for _, option := range options {
		key, _, _ := strings.Cut(strings.ToLower(option), "=")
		if key = strings.TrimSpace(key); strings.HasPrefix(key, optionPrefix(p.plan.Job.From)) && key != "overlayzfs.dataset" {
			p.plan.addNote(where, option)
		}
	}
	for _, l := range p.storeLayers {
		i := slices.IndexFunc(p.items, func(it item) bool { return it.id == l.ID })
		if i >= 0 && l.Limit != nil && (len(l.Limit.Properties) > 0 || l.Limit.XIno != "") {
			p.plan.addNote("container %.12s loses its own properties (of its --storage-opt): the snapshotter has none for one container", p.items[i].owner)
		}
	}
}

// findImported returns the ID of a container that is on the image store, or "".
func (j *Job) findImported(r *dataRoot) (string, error) {
	if !j.keepsDriverName() {
		drivers, err := r.containerDrivers()
		return drivers[j.To], err
	}
	docker, err := dockerstore.OpenRoot(r.Root)
	if err != nil {
		return "", err
	}
	containers, _, err := docker.Containers(j.To)
	if err := errors.Join(err, docker.Close()); err != nil {
		return "", err
	}
	hasOld := j.hasOldLayer(r)
	for _, c := range containers {
		if has, err := hasOld(c.ID); err != nil || !has && !c.Dead {
			return c.ID, err
		}
	}
	return "", nil
}

// beginPluginCopy prepares each copy from the plugin's store: it gives the layers their limits
// and remembers which engine used the store last.
func (j *Job) beginPluginCopy(r *dataRoot, records *dockerstore.Records, items []item, tools Tools) (err error) {
	if j.Method != Import || !j.isFromStore() {
		return nil
	}
	if err := j.requireImageStoreUnused(r); err != nil {
		return err
	}
	if j.Token, err = tools.Token(); err != nil {
		return err
	}
	view, err := j.openPluginStore(r.Name())
	if err != nil {
		return err
	}
	layers, err := view.Layers()
	setStoreLimits(items, records, layers)
	return errors.Join(err, view.Close())
}

// requireImageStoreUnused fails when dockerd has run on the image store before all records of
// containers were switched. Where the plugin and the snapshotter have one name, such a container
// cannot be told from one of the plugin's, and would be copied once more.
func (j *Job) requireImageStoreUnused(r *dataRoot) error {
	if j.Phase != Switching || !j.keepsDriverName() {
		return nil
	}
	aside, err := r.exists(buildsName)
	if err != nil || !aside {
		return err
	}
	ran, err := j.hasImageStoreTrace(r)
	if err == nil && ran {
		err = fault.New(fault.Exists, "dockerd was started on the image store before the migration was complete, and another copy would overwrite its changes: discard them with --undo, and start again")
	}
	return err
}

// checkPluginUnused fails when dockerd has run with the plugin since its layers were copied.
func (j *Job) checkPluginUnused(tools Tools) error {
	if !j.isFromStore() || tools.Untried {
		return nil
	}
	token, err := tools.Token()
	if err == nil && token != "" && token != j.Token {
		err = fault.New(fault.Invalid, "dockerd has run with the plugin %s since its layers were copied: revert the migration with --undo, or delete Docker's records of them anyway with --untried", j.From)
	}
	return err
}
