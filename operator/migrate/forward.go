package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// planForward decides how layers get to the store.
func (p *planner) planForward() error {
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
		adopted, err := p.planInPlace()
		if err != nil || adopted {
			return err
		}
	}
	j.Method = Copy
	if n := len(p.storeLayers); n > 0 {
		p.plan.addObstacle("the store holds %d layers, which Docker does not know under the driver %s: give the plugin an empty dataset", n, j.To)
	}
	if _, known := dirLayouts[j.From]; !known && j.From != "zfs" {
		return fault.New(fault.Unsupported, "there is no way from the driver %s: known are overlay2, zfs, vfs and btrfs. Save its images with `docker save` and load them afterwards", j.From)
	}
	if err := p.planSource(); err != nil {
		return err
	}
	return p.checkSpace()
}

// planSource finds out where moby's zfs driver has its layers.
func (p *planner) planSource() (err error) {
	j := &p.plan.Job
	if j.From == "zfs" {
		if j.ZFSDataset = p.ZFSDataset; j.ZFSDataset == "" {
			j.ZFSDataset, err = zfs.DatasetOf(p.Root)
		}
		if err != nil {
			return fmt.Errorf("where the driver zfs has its layers: name the dataset of zfs.fsname with --zfs-dataset: %w", err)
		}
	}
	if j.From == "overlay2" {
		j.Share = p.canShareBlocks(filepath.Join(p.Root, "overlay2"))
	}
	return p.checkLayersPresent()
}

// checkLayersPresent makes sure that every layer is there to be carried.
func (p *planner) checkLayersPresent() (err error) {
	s, closeSource, err := p.plan.Job.openSource(p.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	p.sizes = map[string]int64{}
	for _, it := range p.items {
		layer, err := s.openLayer(it.id)
		if err != nil {
			p.plan.addObstacle("layer %s, which Docker has recorded, cannot be read: %v", it.id, err)
			continue
		}
		if it.image == nil {
			if err := p.measureWritable(s, it, layer); err != nil {
				return errors.Join(err, layer.Close())
			}
		} else if err := p.checkTarSplit(it); err != nil {
			p.plan.addObstacle("layer %s of %s cannot be compared, nor saved by Docker: %v; remove the image, and pull or build it again", it.id, imageNames(p.records, it.image.Chain), err)
		}
		p.plan.Bytes += it.size
		p.sizes[it.id] += it.size
		if err := layer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkTarSplit makes sure that Docker has a record of an image layer's tar.
func (p *planner) checkTarSplit(it item) error {
	record, err := p.docker.TarSplit(p.plan.Job.From, it.image.Chain)
	if err != nil {
		return err
	}
	return record.Close()
}

// planInPlace plans to take overlay2's layers as they are, when they lie in the store
// already or can be renamed into it.
func (p *planner) planInPlace() (bool, error) {
	j := &p.plan.Job
	if p.Dataset != "" {
		return p.planStay()
	}
	from := filepath.Join(p.Root, j.Layers)
	apart, err := p.isOnOtherFileSystem(from)
	if err != nil || apart {
		return false, err
	}
	j.Method, j.Reclaim = Move, false
	view, err := overlayzfs.ViewHome(from)
	if err != nil {
		return true, err
	}
	return true, errors.Join(p.checkAdoptable(view, from, from), view.Close())
}

// planStay finds out whether the store's dataset holds the layers already: it was
// mounted on overlay2's directory.
func (p *planner) planStay() (holds bool, err error) {
	root, err := zfs.OpenDatasetReadOnly(p.Dataset)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir := fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	view, err := overlayzfs.ViewHome(dir)
	if errors.Is(err, fault.NotFound) {
		return false, nil // there is no store on it yet
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	layers, err := view.Layers()
	if err != nil || len(layers) == 0 {
		return false, err
	}
	p.plan.Job.Method, p.plan.Job.Reclaim = Stay, false
	return true, p.checkAdoptable(view, dir, "dataset "+p.Dataset)
}

// isOnOtherFileSystem reports whether layers cannot be renamed into the store.
func (p *planner) isOnOtherFileSystem(from string) (bool, error) {
	mounts, err := mount.ListAt(from)
	if err != nil || len(mounts) > 0 {
		return true, err
	}
	theirs, err := zfs.DatasetOf(from)
	if err != nil {
		return true, fmt.Errorf("the plugin has no dataset of its own, and overlay2's layers are not on ZFS: set overlayzfs.dataset (`docker plugin set`) while dockerd runs: %w", err)
	}
	ours, err := zfs.DatasetOf(filepath.Join(p.Root, "plugins"))
	return theirs != ours, err
}

// checkAdoptable makes sure that overlay2's layers are what a store understands.
func (p *planner) checkAdoptable(view *overlayzfs.StoreView, dir, where string) error {
	layers, err := view.Layers()
	if err != nil {
		return err
	}
	seen := make(map[string]overlayzfs.LayerInfo, len(layers))
	for _, l := range layers {
		seen[l.ID] = l
	}
	for _, it := range p.items {
		l, ok := seen[it.id]
		switch {
		case !ok:
			p.plan.addObstacle("layer %s, which Docker has recorded, is not in %s", it.id, where)
		case l.Damaged != nil:
			p.plan.addObstacle("layer %s: %v", it.id, l.Damaged)
		case l.Parent != it.parent:
			p.plan.addObstacle("layer %s stands on %q in %s, and Docker has recorded %q", it.id, l.Parent, where, it.parent)
		}
		if err := p.checkSelfContained(dir, it); err != nil {
			return err
		}
	}
	return nil
}

// checkSelfContained refuses a layer that was mounted to be written to with features
// of overlayfs that a store has off. Only such layers can have them.
func (p *planner) checkSelfContained(dir string, it item) error {
	if it.image != nil && !dockerstore.IsBuildKitID(it.id) {
		return nil // unpacked from a tar
	}
	if _, err := os.Lstat(filepath.Join(dir, it.id, "work", "index")); !errors.Is(err, fs.ErrNotExist) {
		p.plan.addObstacle("layer %s was mounted with overlayfs's index on, which a store has off: commit the container and remove it", it.id)
	}
	upper, err := os.Open(filepath.Join(dir, it.id, "diff"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // said already
	}
	if err != nil {
		return err
	}
	defer upper.Close()
	return fsat.Walk(context.Background(), int(upper.Fd()), false, &xattrScan{p, it})
}

// xattrScan looks for attributes that tie a layer's files to another layer's.
type xattrScan struct {
	p  *planner
	it item
}

func (s *xattrScan) Enter(_ int, path fsat.Path, fd int) error {
	names, err := fsat.ListXattrFD(fd)
	s.refuseXattrs(path, names)
	return err
}

func (s *xattrScan) File(parent int, path fsat.Path, typ uint8) error {
	if typ != dtReg {
		return nil
	}
	names, err := fsat.ListXattr(parent, path.Name)
	s.refuseXattrs(path, names)
	return err
}

func (s *xattrScan) Leave(int, fsat.Path) error { return nil }

func (s *xattrScan) refuseXattrs(path fsat.Path, names []string) {
	for _, name := range names {
		if name == overlayfs.RedirectXattr || name == overlayfs.MetacopyXattr {
			s.p.plan.addObstacle("%q in layer %s has the attribute %s, of overlayfs's redirect_dir or metacopy, which a store has off: commit the container and remove it, or build the image again, with both off", path, s.it.id, name)
		}
	}
}

// dtReg is DT_REG of dirent.h.
const dtReg = 8
