package host

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// RoleProperty marks a dataset that setup has made, with what it is for. Only a local value
// counts: children inherit it.
const RoleProperty = "overlayzfs:role"

// Removal says what of overlayzfs is to leave a host.
type Removal struct {
	Where Location
	// Layers destroys the dataset of the layers, with its snapshots, and Docker's records of
	// the driver's images. Nothing destroys volumes or the data-root.
	Layers  bool
	Config  string // daemon.json
	Systemd string
	// Containerd is containerd's configuration.
	Containerd string
	Engine     *Engine
	Log        *setuplog.Log // of setup, which is removed, or nil
	Driver     string        // the storage driver that dockerd uses now, or empty when it does not run
}

// PlanRemoval returns the steps that take overlayzfs from a host, in an order in which dockerd
// can start after each.
func PlanRemoval(z *zfs.Handle, r Removal) (Plan, error) {
	p := Plan{Steps: []Step{}, Remaining: []string{}}
	for _, part := range []func(*zfs.Handle, Removal) error{p.removeKeys, p.removeDropIns, p.leaveContainerd, p.removePlugin, p.destroyLayers} {
		if err := part(z, r); err != nil {
			return Plan{}, err
		}
	}
	if len(p.Steps) > 0 {
		p.Remaining = append(p.Remaining, "systemctl daemon-reload; systemctl restart docker")
	}
	if err := p.removeLog(r); err != nil {
		return Plan{}, err
	}
	return p, p.listDatasets(z, r)
}

// removeLog plans to remove the log of setup, whose files are no longer as it has left them.
func (p *Plan) removeLog(r Removal) error {
	if r.Log == nil {
		return nil
	}
	records, err := r.Log.Read()
	if err == nil && len(records) > 0 {
		p.addStep(func(context.Context, *zfs.Handle) error { return r.Log.Save(nil) }, "# cannot be undone", "remove %s: `overlayzfs setup --undo` is not possible after this", r.Log.Path)
	}
	return err
}

// removeKeys plans to take the driver and its options out of daemon.json. The driver of before
// refuses our options.
func (p *Plan) removeKeys(_ *zfs.Handle, r Removal) error {
	file, err := dockerconf.Load(r.Config)
	if err != nil {
		return err
	}
	config, err := file.Config()
	if err != nil {
		return err
	}
	var changes []dockerconf.Change
	if config.StorageDriver == r.Where.Driver {
		changes = append(changes, dockerconf.Change{Path: []string{"storage-driver"}})
	}
	var options []string
	for _, option := range config.StorageOpts {
		if !strings.HasPrefix(optionKey(option), driverPrefix) {
			options = append(options, option)
		}
	}
	if len(options) < len(config.StorageOpts) {
		change := dockerconf.Change{Path: []string{"storage-opts"}}
		if len(options) > 0 {
			change.Value = options
		}
		changes = append(changes, change)
	}
	features, err := p.undoContainerdStore(r, config)
	if err != nil {
		return err
	}
	if changes = append(changes, features...); len(changes) == 0 {
		return nil
	}
	why, err := file.WhyReadOnly()
	if err != nil {
		return err
	}
	if why != "" {
		return p.showConfig(Facts{File: file, FileReadOnly: why}, changes)
	}
	edited, err := file.Edit(changes)
	if err != nil {
		return err
	}
	var texts []string
	for _, c := range changes {
		texts = append(texts, c.String())
	}
	backup := file.BackupName()
	p.addStep(func(context.Context, *zfs.Handle) error { return file.Replace(edited, backup) }, "mv "+backup+" "+file.Path,
		"edit %s, kept as %s: %s", file.Path, backup, strings.Join(texts, ", "))
	return nil
}

// removeDropIns plans to remove the files that setup has written beside units.
func (p *Plan) removeDropIns(_ *zfs.Handle, r Removal) error {
	all, err := readDropIns(Request{Systemd: r.Systemd, Door: Snapshotter}) // of either door
	if err != nil {
		return err
	}
	for _, name := range dropInUnits(Request{Door: Snapshotter}) {
		d := all[name]
		if !strings.HasPrefix(string(d.Raw), dropInHead) {
			continue
		}
		p.addStep(func(context.Context, *zfs.Handle) error {
			return errors.Join(os.Remove(d.Path), atomicfile.SyncDir(filepath.Dir(d.Path)))
		}, "overlayzfs setup", "remove %s", d.Path)
	}
	return nil
}

// removePlugin plans to remove the plugin, unless dockerd uses it or layers lie in it.
func (p *Plan) removePlugin(_ *zfs.Handle, r Removal) error {
	plugin := r.Where.Plugin
	if plugin == nil {
		return nil
	}
	inPlace, err := r.Where.isInPlace()
	switch {
	case err != nil:
		return err
	case inPlace:
		p.addRemaining("The layers of plugin %s lie in its directory, and go with it: `docker plugin rm -f %s`, when they may go.", plugin.Name, plugin.Name)
	case r.Engine == nil:
		p.addRemaining("Start dockerd, and run this command again: it removes the plugin %s.", plugin.Name)
	case plugin.HasName(r.Driver):
		p.addRemaining("dockerd still uses the plugin. After its restart, run this command again: it removes the plugin %s.", plugin.Name)
	default:
		if plugin.Enabled {
			p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
				return r.Engine.Client.DisablePlugin(ctx, plugin.Name, false)
			},
				"docker plugin enable "+plugin.Name, "disable plugin %s", plugin.Name)
		}
		p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
			return ignoreMissing(r.Engine.Client.RemovePlugin(ctx, plugin.Name))
		},
			"overlayzfs setup", "remove plugin %s", plugin.Name)
		p.pluginGoes = true
	}
	return nil
}

// isInPlace reports whether layers lie in the plugin's own directory, with nothing mounted
// there.
func (l Location) isInPlace() (bool, error) {
	if l.Dataset != "" {
		return false, nil
	}
	mounts, err := mount.ListAt(l.Home)
	if err != nil || len(mounts) > 0 {
		return false, err
	}
	return hasContent(l.Home)
}

// destroyLayers plans to destroy the dataset of the layers, when that was asked for and it has
// nothing else.
func (p *Plan) destroyLayers(z *zfs.Handle, r Removal) error {
	if !r.Layers || r.Where.Dataset == "" {
		return nil
	}
	d, err := z.DatasetStats(r.Where.Dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	children, err := r.checkDestroyable(z, d)
	if err != nil {
		return err
	}
	if !p.pluginGoes { // with its end, the store's
		if err := r.Where.requireUnused(); err != nil {
			return err
		}
	}
	records := filepath.Join(r.Where.Root, dockerstore.ImagesDir(r.Where.Driver))
	if isDir(records) {
		p.addStep(func(context.Context, *zfs.Handle) error {
			if err := r.Where.requireUnused(); err != nil {
				return err
			}
			return os.RemoveAll(records)
		}, "# cannot be undone", "remove %s, Docker's records of the driver's images", records)
	}
	for _, name := range append(children, d.Name) {
		p.addStep(func(ctx context.Context, z *zfs.Handle) error { return destroyWithSnapshots(ctx, z, name) }, "# cannot be undone", "destroy dataset %s with its snapshots", name)
	}
	return nil
}

// checkDestroyable returns the datasets of limited containers below the layers. It fails when
// the layers are in use, when something else lies with them, and when a snapshot is held.
func (r Removal) checkDestroyable(z *zfs.Handle, d zfs.Dataset) (children []string, err error) {
	if r.Engine != nil && (dockerstore.Plugin{Name: r.Where.Driver + ":latest"}).HasName(r.Driver) {
		return nil, fault.NewWithRemedy(fault.Busy, "dockerd uses the layers on %s: run this command without --layers, restart dockerd, and then run it with --layers", d.Name)
	}
	occupied, err := isOccupied(d.Name)
	if err == nil && occupied {
		err = fault.New(fault.Exists, "dataset %s has content that is not a store of layers, and is not destroyed", d.Name)
	}
	if err != nil {
		return nil, err
	}
	children, err = findLayerDatasets(z, d.Name)
	if err == nil {
		err = requireReleased(z, append(slices.Clone(children), d.Name))
	}
	return children, err
}

// requireUnused fails with fault.Busy while a process has the store open.
func (l Location) requireUnused() error {
	view, err := l.OpenView()
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(view.RequireUnused(), view.Close())
}

// listDatasets lists the datasets that stay, with what they hold.
func (p *Plan) listDatasets(z *zfs.Handle, r Removal) error {
	layers := r.Where.Dataset
	if layers == "" {
		return nil
	}
	if there, err := z.Exists(layers); err != nil || there && !r.Layers {
		p.addRemaining("The layers stay on %s. When images and containers may go, destroy them: overlayzfs setup --remove --layers --dataset %s", layers, layers)
		if err != nil {
			return err
		}
	}
	names := []string{path.Dir(layers)}
	for child, err := range z.Children(names[0]) {
		if err != nil {
			break // a pool without the parent
		}
		names = append(names, child.Name)
	}
	for _, name := range names {
		d, err := z.DatasetStats(name)
		if role, there := d.Property(RoleProperty); err == nil && there && d.IsLocalOrReceived(RoleProperty) && name != layers {
			p.addRemaining("Dataset %s stays: it holds %s.", name, role.String())
		}
	}
	return nil
}

// FindLayers finds the layers' dataset by the property that setup gives it, where neither a
// plugin nor daemon.json names one any more. Of several it takes none: it returns their names.
func (l *Location) FindLayers(z *zfs.Handle) (several []string, err error) {
	if inPlace, err := l.isInPlace(); inPlace || l.Dataset != "" || err != nil {
		return nil, err
	}
	pools, err := zfs.Pools()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pool := range pools {
		if err := collectLayers(z, pool, &names); err != nil {
			return nil, err
		}
	}
	if len(names) == 1 {
		l.Dataset = names[0]
		return nil, nil
	}
	return names, nil
}

// collectLayers appends the datasets below one that setup has made for layers. A dataset that
// was received with that property is a backup.
func collectLayers(z *zfs.Handle, parent string, names *[]string) error {
	for child, err := range z.Children(parent) {
		if err != nil {
			return err
		}
		if role, _ := child.Property(RoleProperty); child.IsLocal(RoleProperty) && role.String() == roleLayers {
			*names = append(*names, child.Name)
			continue // below are containers'
		}
		if err := collectLayers(z, child.Name, names); err != nil {
			return err
		}
	}
	return nil
}
