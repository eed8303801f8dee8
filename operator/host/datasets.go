package host

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// planDatasets plans the datasets of the data-root, the layers and the volumes.
func (p *Plan) planDatasets(f Facts, w Request) error {
	if w.Parent != "" {
		if err := p.planParent(f, w); err != nil {
			return err
		}
	}
	layers, there := f.Datasets[w.Layers]
	if !there {
		p.createLayers(f, w)
	} else {
		before := len(p.Steps)
		p.setAdvised(f, layers)
		p.setSync(layers, w.Sync)
		if isWholePool(w.Layers) && len(p.Steps) > before {
			return wholePoolError(w.Layers)
		}
	}
	if w.hasDataRoot(f) {
		p.planVolumes(f, w)
	}
	return nil
}

// createLayers plans a new dataset for layers.
func (p *Plan) createLayers(f Facts, w Request) {
	more := []property{{"mountpoint", "legacy"}}
	above := f.Above[w.Layers]
	switch {
	case w.Sync != "":
		more = append(more, property{"sync", w.Sync})
	case above != nil && above.Dataset.SyncMode() == zfs.SyncAlways: // each write of a container would wait for the disk
		more = append(more, property{"sync", "standard"})
	}
	p.createDataset(f, w.Layers, roleLayers, advisedProperties(more...))
}

// hasDataRoot reports whether the data-root lies on the parent after setup. Setup does
// not mount over a data-root with content.
func (w Request) hasDataRoot(f Facts) bool {
	return w.Parent != "" && (f.RootOn == w.Parent || !f.RootHasContent || w.moves(f))
}

// planParent plans the parent dataset: mounted on the data-root, or with
// mountpoint=none when the data-root stays where it is.
func (p *Plan) planParent(f Facts, w Request) error {
	d, there := f.Datasets[w.Parent]
	if err := checkInheritance(f, w, d, there); err != nil {
		return err
	}
	switch {
	case w.moves(f):
		return p.planMove(f, w)
	case f.Moving:
		return fault.New(fault.Busy, "a move of %s to dataset %s is not finished: run this command again with --move-data-root", w.Root, w.Parent)
	case there && f.RootOn == w.Parent:
		p.setAdvised(f, d)
	case there && d.CanMount() != "on" && !f.RootHasContent && f.RootOn != w.Parent:
		return fault.New(fault.Exists, "dataset %s has canmount=%s and would not be mounted at the next boot: run `zfs set canmount=on %s` first", w.Parent, d.CanMount(), w.Parent)
	case there && (d.Mountpoint() == w.Root && !f.RootHasContent):
		p.setAdvised(f, d)
		p.mountDataset(w.Parent, w.Root, "data-root")
	case there && d.Mountpoint() == "none" && f.RootHasContent:
		p.setAdvised(f, d)
	case there && d.Mountpoint() == "none": // the content was moved away since
		p.setAdvised(f, d)
		p.setProperty(d, property{"mountpoint", w.Root}, "none")
		p.mountDataset(w.Parent, w.Root, "data-root")
	case there:
		return fault.New(fault.Exists, "dataset %s exists with mountpoint=%s, which is not the data-root %s: name another, or only a dataset for layers with --dataset", w.Parent, d.Mountpoint(), w.Root)
	case w.hasDataRoot(f):
		p.createDataset(f, w.Parent, roleDataRoot, advisedProperties(property{"mountpoint", w.Root}))
		p.mountDataset(w.Parent, w.Root, "data-root")
	default:
		p.createDataset(f, w.Parent, roleParent, advisedProperties(property{"mountpoint", "none"}))
	}
	return nil
}

// checkInheritance fails when foreign datasets would inherit the parent's new properties.
// An inherited mountpoint, for example, would mount each of them in the data-root.
func checkInheritance(f Facts, w Request, d zfs.Dataset, there bool) error {
	moves := d.Mountpoint() == "none" && !f.RootHasContent && f.RootOn != w.Parent
	moves = moves || w.moves(f) && !f.Moving
	if !there || !moves && len(findUnfit(d, f.Module)) == 0 {
		return nil
	}
	if isWholePool(w.Parent) {
		return wholePoolError(w.Parent)
	}
	if len(f.ForeignDatasets) > 0 {
		return fault.New(fault.Exists, "datasets below %s, such as %s, would inherit the properties that Docker needs: name a new dataset, or only one for layers with --dataset", w.Parent, f.ForeignDatasets[0])
	}
	return nil
}

func isWholePool(dataset string) bool { return !strings.Contains(dataset, "/") }

func wholePoolError(pool string) error {
	return fault.New(fault.Exists, "%s is a whole pool, and all its datasets would inherit the properties that Docker needs: name a dataset on it, such as %s/docker", pool, pool)
}

// isMountedAtBoot reports whether `zfs mount -a` mounts the data-root's dataset at the
// next boot, before the datasets below it. A dataset mounted by other means may come
// later and hide them.
func isMountedAtBoot(f Facts, w Request) bool {
	d, there := f.Datasets[w.Parent]
	return !there || d.CanMount() == "on" && (d.Mountpoint() == w.Root || d.Mountpoint() == "none" && f.RootOn != w.Parent)
}

// planVolumes plans a separate dataset for volumes, so that they can be snapshotted,
// limited and tuned apart from layers. It has sync=standard, because databases lie there.
func (p *Plan) planVolumes(f Facts, w Request) {
	d, there := f.Datasets[w.volumesDataset()]
	if f.VolumesOn == w.volumesDataset() {
		p.volumesApart = true
		return
	}
	if f.VolumesHaveContent || there && d.Mountpoint() != w.volumesDir() {
		return
	}
	if !isMountedAtBoot(f, w) {
		p.addRemaining("Volumes stay on %s: `zfs mount -a` does not mount it, so it could hide a dataset for volumes after the next boot.", w.Parent)
		return
	}
	if there && d.CanMount() != "on" {
		p.setProperty(d, property{"canmount", "on"}, d.CanMount())
	}
	if !there {
		p.createDataset(f, w.volumesDataset(), roleVolumes, []property{{"sync", "standard"}})
	}
	p.volumesApart = true
	p.mountDataset(w.volumesDataset(), w.volumesDir(), "volumes")
}

// The roles of datasets, as steps name them.
const (
	roleDataRoot = "data-root"
	roleParent   = "the datasets below"
	roleLayers   = "layers"
	roleVolumes  = "volumes"
)

// createDataset plans a new dataset. It has the properties and what corrects those that it
// would inherit from a dataset that is there already.
func (p *Plan) createDataset(f Facts, name, role string, properties []property) {
	named := map[string]bool{}
	for _, q := range properties {
		named[q.name] = true
	}
	for _, q := range f.Above[name].corrections() {
		if !named[q.name] {
			properties = append(properties, q)
		}
	}
	p.addStep(func(_ context.Context, z *zfs.Handle) error {
		packed, err := encodeProperties(append(properties, property{RoleProperty, role}))
		if err != nil {
			return err
		}
		return z.CreateFilesystem(name, packed)
	}, "zfs destroy "+name, "create dataset %s for %s:%s", name, role, formatProperties(properties))
	p.addRecords(setuplog.Record{Kind: setuplog.Dataset, Name: name})
}

// mountDataset plans a mount like that of `zfs mount`, which repeats it at every boot.
func (p *Plan) mountDataset(name, dir, what string) {
	p.addStep(func(context.Context, *zfs.Handle) error {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		if mounts, err := mount.ListAt(dir); err != nil || len(mounts) > 0 && mounts[len(mounts)-1].Source == name {
			return err
		}
		if hides, err := hasContent(dir); err != nil || hides {
			return errors.Join(err, fault.New(fault.Exists, "%s has content now, which the mount would hide: move it away", dir))
		}
		return zfs.MountDataset(name, dir)
	}, "umount "+dir, "mount dataset %s on %s, %s", name, dir, what)
	p.addRecords(newDirs(dir)...)
}

// setAdvised plans to set each property that differs from the advice, or that a parent has
// for another use.
func (p *Plan) setAdvised(f Facts, d zfs.Dataset) {
	for _, s := range findUnfit(d, f.Module) {
		p.setProperty(d, property{s.Property, s.Advised}, s.Current)
	}
}

// setSync plans to set the property sync, if the request has one.
func (p *Plan) setSync(d zfs.Dataset, sync string) {
	if sync != "" && d.Sync() != sync {
		p.setProperty(d, property{"sync", sync}, d.Sync())
	}
}

func (p *Plan) setProperty(d zfs.Dataset, to property, is string) {
	undo := "zfs inherit " + to.name + " " + d.Name
	word, _, _ := strings.Cut(is, " ")
	if d.IsLocal(to.name) {
		undo = "zfs set " + to.name + "=" + word + " " + d.Name
	}
	p.addStep(func(_ context.Context, z *zfs.Handle) error {
		packed, err := encodeProperties([]property{to})
		if err != nil {
			return err
		}
		return z.SetProperty(d.Name, packed)
	}, undo, "set %s=%s on %s, where it is %s", to.name, to.value, d.Name, is)
	p.addRecords(setuplog.Record{Kind: setuplog.Property, Name: d.Name, Property: to.name, Value: word, After: to.value, Local: d.IsLocalOrReceived(to.name)})
}
