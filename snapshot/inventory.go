package snapshot

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// inventory finds our snapshots of a store, oldest first. The records dataset
// is looked at if it is named, and wherever a snapshot says that one is in it.
// Other people's snapshots cost little: only their names are read.
func inventory(z *zfs.Handle, layers, records string) ([]Info, error) {
	stats, err := z.DatasetStats(layers)
	if err != nil {
		return nil, err
	}
	children, err := limitedChildren(z, layers)
	if err != nil {
		return nil, err
	}
	c := collector{zfs: z, found: map[string]*Info{}}
	for _, dataset := range append([]zfs.Dataset{stats}, children...) {
		if err := c.scan(dataset.Name, func(zfs.Dataset) bool { return true }); err != nil {
			return nil, err
		}
	}
	if err := c.scanRecords(layers, records, strconv.FormatUint(stats.GUID, 10)); err != nil {
		return nil, err
	}
	return c.sorted(), nil
}

// collector puts snapshots of several datasets together by their names.
type collector struct {
	zfs   *zfs.Handle
	found map[string]*Info
}

// scan adds the snapshots of a dataset that are ours and that mine accepts.
func (c *collector) scan(dataset string, mine func(zfs.Dataset) bool) error {
	for s, err := range c.zfs.SnapshotNames(dataset) {
		if errors.Is(err, zfs.ErrNotExist) {
			return nil // the dataset went meanwhile
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(bare(s.Name), prefix) {
			continue
		}
		stats, err := c.zfs.DatasetStats(s.Name)
		if errors.Is(err, zfs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if ours(stats) && mine(stats) {
			c.add(dataset, stats)
		}
	}
	return nil
}

// scanRecords adds the parts that lie on records datasets. One of those may
// serve several stores: its snapshots are this store's if they are part of one
// found already, or, all the rest of it being gone, name this store.
func (c *collector) scanRecords(layers, records, store string) error {
	for _, dataset := range c.recordsDatasets(layers, records) {
		err := c.scan(dataset, func(s zfs.Dataset) bool {
			info := c.found[bare(s.Name)]
			if info != nil {
				return info.Records == dataset
			}
			return layersGUID(s) == store
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) recordsDatasets(layers, records string) []string {
	all := []string{records}
	for _, info := range c.found {
		all = append(all, info.Records)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(dataset string) bool { return dataset == "" || dataset == layers })
}

func (c *collector) add(dataset string, s zfs.Dataset) {
	name := bare(s.Name)
	info := c.found[name]
	if info == nil {
		info = &Info{
			Name:      name,
			Event:     Event(text(s, eventProperty)),
			Time:      s.Created().UTC(),
			CreateTXG: s.CreateTXG,
			Scope:     Scope(text(s, scopeProperty)),
			Records:   text(s, recordsProperty),
		}
		c.found[name] = info
	}
	info.Datasets = append(info.Datasets, dataset)
	info.Used += s.Used()
	info.Clones += s.Clones
	if refs, _ := s.Property("userrefs"); refs.Uint() > 0 {
		info.held = true
	}
}

func (c *collector) sorted() []Info {
	infos := make([]Info, 0, len(c.found))
	for _, info := range c.found {
		infos = append(infos, *info)
	}
	oldestFirst(infos)
	return infos
}
