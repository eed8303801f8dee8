package migrate

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

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
	if n := len(p.held); n > 0 {
		p.plan.obstacle("the store holds %d layers, which Docker does not know under the driver %s: give the plugin an empty dataset", n, j.To)
	}
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
		if j.ZFSDataset = p.ZFSDataset; j.ZFSDataset == "" {
			j.ZFSDataset, err = zfs.DatasetOf(p.Root)
		}
		if err != nil {
			return fmt.Errorf("where the driver zfs has its layers: name the dataset of zfs.fsname with --zfs-dataset: %w", err)
		}
	}
	if j.From == "overlay2" {
		j.Share = p.shares(filepath.Join(p.Root, "overlay2"))
	}
	return p.present()
}

// present makes sure that every layer is there to be carried.
func (p *planner) present() (err error) {
	s, closeSource, err := p.plan.Job.newSource(p.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	p.sizes = map[string]int64{}
	for _, it := range p.items {
		layer, err := s.open(it.id)
		if err != nil {
			p.plan.obstacle("layer %s, which Docker has recorded, cannot be read: %v", it.id, err)
			continue
		}
		if it.image == nil {
			if err := p.measure(s, it, layer); err != nil {
				return errors.Join(err, layer.Close())
			}
		} else if err := p.recorded(it); err != nil {
			p.plan.obstacle("layer %s of %s cannot be compared, nor saved by Docker: %v; remove the image, and pull or build it again", it.id, usersOf(p.records, it.image.Chain), err)
		}
		p.plan.Bytes += it.size
		p.sizes[it.id] += it.size
		if err := layer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// recorded makes sure that Docker has a record of an image layer's tar.
func (p *planner) recorded(it item) error {
	record, err := p.docker.TarSplit(p.plan.Job.From, it.image.Chain)
	if err != nil {
		return err
	}
	return record.Close()
}
