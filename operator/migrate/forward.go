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

// planForward chooses the method by which layers get into the store.
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
		p.plan.addObstacle("the store holds %d layers that Docker does not know under the driver %s: give the plugin an empty dataset", n, j.To)
	}
	if _, known := dirLayouts[j.From]; !known && j.From != "zfs" {
		return fault.New(fault.Unsupported, "cannot migrate from the driver %s (only from overlay2, zfs, vfs and btrfs): save its images with `docker save`, and load them with the new driver", j.From)
	}
	if err := p.planSource(); err != nil {
		return err
	}
	return p.checkSpace()
}

// planSource finds the dataset of moby's zfs driver and checks that every layer can be read.
func (p *planner) planSource() (err error) {
	j := &p.plan.Job
	if j.From == "zfs" {
		if j.ZFSDataset = p.ZFSDataset; j.ZFSDataset == "" {
			j.ZFSDataset, err = zfs.DatasetOf(p.Root)
		}
		if err != nil {
			return fmt.Errorf("find the dataset of the zfs driver: %w; pass the value of zfs.fsname with --zfs-dataset", err)
		}
	}
	switch {
	case j.From == "overlay2":
		j.Share = p.canShareBlocks(filepath.Join(p.Root, "overlay2"))
	case j.PluginDataset != "":
		j.Share = zfs.PoolOf(j.PluginDataset) == p.storePool() && p.isCloningPool()
	case j.isFromStore():
		j.Share = p.canShareBlocks(filepath.Join(p.Root, j.Layers))
	}
	return p.checkLayersPresent()
}

// checkLayersPresent adds an obstacle for each layer that cannot be copied, and adds
// up the sizes of the others.
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
			p.plan.addObstacle("cannot read layer %s, which Docker has recorded%s: %v", it.id, p.skipAdvice(it), err)
			continue
		}
		if it.image == nil {
			if err := p.measureWritable(s, it, layer); err != nil {
				return errors.Join(err, layer.Close())
			}
		} else if it.size, err = p.examineImage(s, it, layer); err != nil {
			return errors.Join(err, layer.Close())
		}
		p.plan.Bytes += it.size
		p.sizes[it.id] += it.size
		if err := layer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// planInPlace plans to adopt overlay2's layers in place. It reports false when the
// layers neither lie in the store already nor can be renamed into it.
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
	view, err := overlayzfs.OpenHomeReadOnly(from)
	if err != nil {
		return true, err
	}
	return true, errors.Join(p.checkAdoptable(view, from, from), view.Close())
}

// planStay reports whether the store's dataset holds the layers already, because it
// was mounted on overlay2's directory.
func (p *planner) planStay() (holds bool, err error) {
	root, err := zfs.OpenDatasetReadOnly(p.Dataset)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir := fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	view, err := overlayzfs.OpenHomeReadOnly(dir)
	if errors.Is(err, fault.NotFound) {
		return false, nil // the dataset holds no store yet
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

// isOnOtherFileSystem reports whether the layers and the store are on different file
// systems, so that no rename is possible.
func (p *planner) isOnOtherFileSystem(from string) (bool, error) {
	mounts, err := mount.ListAt(from)
	if err != nil || len(mounts) > 0 {
		return true, err
	}
	if linked, err := p.root.isSymlink(p.plan.Job.Layers); err != nil || linked {
		return true, err // a rename would move the symlink alone
	}
	theirs, err := zfs.DatasetOf(from)
	if err != nil {
		return true, fmt.Errorf("the plugin has no dataset, and overlay2's layers are not on ZFS: %w; set overlayzfs.dataset with `docker plugin set` while dockerd runs", err)
	}
	ours, err := zfs.DatasetOf(filepath.Join(p.Root, "plugins"))
	return theirs != ours, err
}

// checkAdoptable adds an obstacle for each of overlay2's layers that a store cannot use.
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
			p.plan.addObstacle("layer %s is missing in %s, although Docker has recorded it", it.id, where)
		case l.Damaged != nil:
			p.plan.addObstacle("layer %s: %v", it.id, l.Damaged)
		case l.Parent != it.parent:
			p.plan.addObstacle("layer %s has the parent %q in %s, but Docker has recorded %q", it.id, l.Parent, where, it.parent)
		}
		if err := p.checkSelfContained(dir, it); err != nil {
			return err
		}
	}
	return nil
}

// checkSelfContained adds an obstacle for a layer that was written with overlayfs
// features that a store turns off. Only layers that were mounted writable can have them.
func (p *planner) checkSelfContained(dir string, it item) error {
	if it.image != nil && !dockerstore.IsBuildKitID(it.id) {
		return nil // unpacked from a tar, never mounted writable
	}
	if _, err := os.Lstat(filepath.Join(dir, it.id, "work", "index")); !errors.Is(err, fs.ErrNotExist) {
		p.plan.addObstacle("layer %s was mounted with overlayfs's index=on, which a store does not support: commit the container and remove it", it.id)
	}
	upper, err := os.Open(filepath.Join(dir, it.id, "diff"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // checkAdoptable reported it
	}
	if err != nil {
		return err
	}
	defer upper.Close()
	return fsat.Walk(context.Background(), int(upper.Fd()), false, &xattrScan{p, it})
}

// xattrScan looks for attributes that make a file depend on another layer.
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
			s.p.plan.addObstacle("%q in layer %s has the attribute %s of overlayfs's redirect_dir or metacopy, which a store does not support: turn both off, then commit and remove the container or build the image again", path, s.it.id, name)
		}
	}
}

// dtReg is DT_REG of dirent.h.
const dtReg = 8
