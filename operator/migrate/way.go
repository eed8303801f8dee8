package migrate

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
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
