package host

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// property is one to set, in words.
type property struct{ name, value string }

// advised are what every dataset here is made with, and more.
func advised(more ...property) []property {
	var all []property
	for _, s := range doctor.Advised() {
		all = append(all, property{s.Property, s.Value})
	}
	return append(all, more...)
}

// LayerProperties are those that a dataset of layers is made with.
func LayerProperties() (zfs.Properties, error) {
	return pack(advised(property{"mountpoint", "legacy"}))
}

// datasets makes the layout: the data-root, what is mounted in it, the layers.
func (p *Plan) datasets(f Facts, w Wanted) error {
	if w.Parent != "" {
		if err := p.parent(f, w); err != nil {
			return err
		}
	}
	more := []property{{"mountpoint", "legacy"}}
	if w.Sync != "" {
		more = append(more, property{"sync", w.Sync})
	}
	layers, there := f.Datasets[w.Layers]
	if !there {
		p.create(w.Layers, advised(more...), "layers")
	} else {
		before := len(p.Steps)
		p.mend(f, layers)
		p.resync(layers, w.Sync)
		if wholePool(w.Layers) && len(p.Steps) > before {
			return errWholePool(w.Layers)
		}
	}
	if p.hasRoot(f, w) {
		p.volumes(f, w)
	}
	return nil
}

// hasRoot reports whether the data-root lies, or will lie, on the parent: one
// that has content is not hidden by a mount.
func (p *Plan) hasRoot(f Facts, w Wanted) bool {
	return w.Parent != "" && (f.RootOn == w.Parent || !f.RootFull)
}

// parent is the dataset of the data-root, or only the name above the others.
func (p *Plan) parent(f Facts, w Wanted) error {
	d, there := f.Datasets[w.Parent]
	if err := alone(f, w, d, there); err != nil {
		return err
	}
	switch {
	case there && f.RootOn == w.Parent:
		p.mend(f, d)
	case there && d.CanMount() != "on" && !f.RootFull && f.RootOn != w.Parent:
		return fault.New(fault.Exists, "dataset %s has canmount=%s, and would not be mounted at the next boot: `zfs set canmount=on %s` first", w.Parent, d.CanMount(), w.Parent)
	case there && (d.Mountpoint() == w.Root && !f.RootFull):
		p.mend(f, d)
		p.mount(w.Parent, w.Root, "data-root")
	case there && d.Mountpoint() == "none" && f.RootFull:
		p.mend(f, d)
	case there && d.Mountpoint() == "none": // the content was moved away meanwhile
		p.mend(f, d)
		p.set(d, property{"mountpoint", w.Root}, "none")
		p.mount(w.Parent, w.Root, "data-root")
	case there:
		return fault.New(fault.Exists, "dataset %s exists, and its mountpoint is %s, not the data-root %s: name another, or only a dataset for layers with --dataset", w.Parent, d.Mountpoint(), w.Root)
	case p.hasRoot(f, w):
		p.create(w.Parent, advised(property{"mountpoint", w.Root}), "data-root")
		p.mount(w.Parent, w.Root, "data-root")
	default:
		p.create(w.Parent, advised(property{"mountpoint", "none"}), "the datasets below")
	}
	return nil
}

// alone refuses to set on the parent what others would inherit: a mountpoint, for
// one, which would put each of them into the data-root.
func alone(f Facts, w Wanted, d zfs.Dataset, there bool) error {
	moves := d.Mountpoint() == "none" && !f.RootFull && f.RootOn != w.Parent
	if !there || !moves && len(doctor.Unadvised(d, f.Module)) == 0 {
		return nil
	}
	if wholePool(w.Parent) {
		return errWholePool(w.Parent)
	}
	if len(f.Others) > 0 {
		return fault.New(fault.Exists, "dataset %s has others below it, such as %s, which would inherit what Docker needs: name a new dataset, or one for layers alone with --dataset", w.Parent, f.Others[0])
	}
	return nil
}

func wholePool(dataset string) bool { return !strings.Contains(dataset, "/") }

func errWholePool(pool string) error {
	return fault.New(fault.Exists, "%s is a whole pool, and all that is made on it would inherit what Docker needs: name a dataset on it, such as %s/docker", pool, pool)
}

// atBoot reports whether the next boot mounts the data-root's dataset as
// `zfs mount -a` does, before what is below it. One that is mounted in another way
// may come later, and hide that.
func atBoot(f Facts, w Wanted) bool {
	d, there := f.Datasets[w.Parent]
	return !there || d.CanMount() == "on" && (d.Mountpoint() == w.Root || d.Mountpoint() == "none" && f.RootOn != w.Parent)
}

// volumes get a dataset of their own, so that they are snapshotted, limited and
// tuned apart from layers. It has sync=standard: databases lie there.
func (p *Plan) volumes(f Facts, w Wanted) {
	d, there := f.Datasets[w.volumes()]
	if f.VolumesOn == w.volumes() || f.VolumesFull || there && d.Mountpoint() != w.volumesDir() {
		return
	}
	if !atBoot(f, w) {
		p.then("Volumes stay on %s: it is mounted otherwise than by `zfs mount -a`, and a dataset of theirs could be hidden below it after the next boot.", w.Parent)
		return
	}
	if there && d.CanMount() != "on" {
		p.set(d, property{"canmount", "on"}, d.CanMount())
	}
	if !there {
		p.create(w.volumes(), []property{{"sync", "standard"}}, "volumes")
	}
	p.mount(w.volumes(), w.volumesDir(), "volumes")
}

func (p *Plan) create(name string, properties []property, what string) {
	p.add(func(z *zfs.Handle) error {
		packed, err := pack(properties)
		if err != nil {
			return err
		}
		return z.CreateFilesystem(name, packed)
	}, "zfs destroy "+name, "create dataset %s for %s:%s", name, what, describe(properties))
}

// mount mounts as `zfs mount` would; at the next boot that does it.
func (p *Plan) mount(name, dir, what string) {
	p.add(func(*zfs.Handle) error {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		if mounts, err := mount.ListAt(dir); err != nil || len(mounts) > 0 && mounts[len(mounts)-1].Source == name {
			return err
		}
		if hides, err := full(dir); err != nil || hides {
			return errors.Join(err, fault.New(fault.Exists, "there is something in %s now, which the mount would hide", dir))
		}
		return zfs.MountDataset(name, dir)
	}, "umount "+dir, "mount dataset %s on %s, %s", name, dir, what)
}

// mend sets what is not as advised.
func (p *Plan) mend(f Facts, d zfs.Dataset) {
	for _, s := range doctor.Unadvised(d, f.Module) {
		p.set(d, property{s.Property, s.Value}, s.Is)
	}
}

// resync sets sync, if that was asked for.
func (p *Plan) resync(d zfs.Dataset, sync string) {
	if sync != "" && d.Sync() != sync {
		p.set(d, property{"sync", sync}, d.Sync())
	}
}

func (p *Plan) set(d zfs.Dataset, to property, is string) {
	undo := "zfs inherit " + to.name + " " + d.Name
	if d.IsLocal(to.name) {
		word, _, _ := strings.Cut(is, " ")
		undo = "zfs set " + to.name + "=" + word + " " + d.Name
	}
	p.add(func(z *zfs.Handle) error {
		packed, err := pack([]property{to})
		if err != nil {
			return err
		}
		return z.SetProperty(d.Name, packed)
	}, undo, "set %s=%s on %s, where it is %s", to.name, to.value, d.Name, is)
}

// sizes are the properties whose words are sizes.
var sizes = []string{"recordsize"}

// pack turns words into what ZFS takes.
func pack(properties []property) (zfs.Properties, error) {
	packed := zfs.Properties{}
	for _, p := range properties {
		packed[p.name] = zfs.String(p.value)
		if slices.Contains(sizes, p.name) {
			n, err := units.RAMInBytes(p.value)
			if err != nil {
				return nil, fault.New(fault.Invalid, "%s=%s: %w", p.name, strconv.Quote(p.value), err)
			}
			packed[p.name] = zfs.Uint(uint64(n))
		}
	}
	return packed, nil
}
