package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

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
		} else if err := p.recorded(it); err != nil {
			p.plan.obstacle("layer %s of %s cannot be compared, nor saved by Docker: %v; remove the image, and pull or build it again", it.id, usersOf(p.records, it.image.Chain), err)
		}
		p.plan.Bytes += it.size
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
	stats, err := z.DatasetStats(p.plan.Job.ZFSDataset + "/" + id)
	if err := errors.Join(err, z.Close()); err != nil {
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
	return p.roomOn(dataset)
}

// roomOn is room on a dataset.
func (p *planner) roomOn(dataset string) error {
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
