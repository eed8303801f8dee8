package snapshot

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Info describes one snapshot of ours: the snapshots of one name on all its datasets.
type Info struct {
	Name      string    `json:"name"` // the part after the @
	Event     Event     `json:"event"`
	Time      time.Time `json:"time"` // by the clock of its moment; CreateTXG gives the order
	CreateTXG uint64    `json:"createtxg"`
	Scope     Scope     `json:"scope"`
	Records   string    `json:"records,omitempty"` // the records dataset that it covers
	Datasets  []string  `json:"datasets"`          // the datasets that have it, the layers dataset first
	Used      uint64    `json:"used"`              // bytes that only it holds
	Clones    uint64    `json:"clones,omitempty"`
	Holds     []Hold    `json:"holds,omitempty"`

	held bool
}

// Hold keeps a snapshot from being destroyed.
type Hold struct {
	Dataset string `json:"dataset"`
	Tag     string `json:"tag"`
}

// Scope says which data a snapshot covers.
type Scope string

// The scopes.
const (
	ScopeLayers  Scope = "layers"
	ScopeRecords Scope = "layers+records"
)

// List returns the snapshots of a store that overlayzfs took, oldest first.
func List(z *zfs.Handle, layers string) ([]Info, error) {
	infos, err := listSnapshots(z, layers, "")
	if err != nil {
		return nil, err
	}
	for i := range infos {
		if infos[i].held {
			if infos[i].Holds, err = holdsOf(z, snapshotNames(infos[i].Datasets, infos[i].Name)); err != nil {
				return nil, err
			}
		}
	}
	return infos, nil
}

func holdsOf(z *zfs.Handle, snapshots []string) ([]Hold, error) {
	var all []Hold
	for _, snapshot := range snapshots {
		holds, err := z.Holds(snapshot)
		if err != nil && !errors.Is(err, zfs.ErrNotExist) {
			return nil, err
		}
		for tag := range holds {
			all = append(all, Hold{Dataset: datasetOf(snapshot), Tag: tag})
		}
	}
	slices.SortFunc(all, func(a, b Hold) int {
		return cmp.Or(cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Tag, b.Tag))
	})
	return all, nil
}

// sortByTXG sorts snapshots in the order in which they were made. The clock does not know it.
func sortByTXG(infos []Info) {
	slices.SortStableFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.CreateTXG, b.CreateTXG), cmp.Compare(a.Name, b.Name))
	})
}

// newest returns the latest snapshot of an event.
func newest(infos []Info, e Event) (Info, bool) {
	of := filterEvent(infos, e)
	if len(of) == 0 {
		return Info{}, false
	}
	return of[len(of)-1], true
}

// filterEvent returns the snapshots of an event, oldest first.
func filterEvent(infos []Info, e Event) []Info {
	var of []Info
	for _, info := range infos {
		if info.Event == e {
			of = append(of, info)
		}
	}
	sortByTXG(of)
	return of
}

// listSnapshots finds our snapshots of a store, oldest first. It looks at the given records
// dataset, and at every records dataset that a snapshot names. Of other snapshots it reads only
// the names, which is cheap.
func listSnapshots(z *zfs.Handle, layers, records string) ([]Info, error) {
	stats, err := z.DatasetStats(layers)
	if err != nil {
		return nil, err
	}
	live, removed, err := quota.ListDatasets(z, layers)
	if err != nil {
		return nil, err
	}
	c := collector{zfs: z, found: map[string]*Info{}}
	for _, dataset := range slices.Concat([]zfs.Dataset{stats}, live, removed) {
		if err := c.scan(dataset.Name, func(zfs.Dataset) bool { return true }); err != nil {
			return nil, err
		}
	}
	if err := c.scanRecords(layers, records, strconv.FormatUint(stats.GUID, 10)); err != nil {
		return nil, err
	}
	return c.sortedInfos(), nil
}

// collector groups the snapshots of several datasets by name.
type collector struct {
	zfs   *zfs.Handle
	found map[string]*Info
}

// scan adds the snapshots of a dataset that are ours and that mine accepts.
func (c *collector) scan(dataset string, mine func(zfs.Dataset) bool) error {
	for s, err := range c.zfs.SnapshotNames(dataset) {
		if errors.Is(err, zfs.ErrNotExist) {
			return nil // the dataset was destroyed meanwhile
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(baseName(s.Name), prefix) {
			continue
		}
		stats, err := c.zfs.DatasetStats(s.Name)
		if errors.Is(err, zfs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if isOurs(stats) && mine(stats) {
			c.add(dataset, stats)
		}
	}
	return nil
}

// scanRecords adds the snapshots of records datasets. Several stores may share one. A snapshot
// there is this store's when it belongs to one that is found already. When all the rest of it
// is gone, it is this store's when it names the store.
func (c *collector) scanRecords(layers, records, store string) error {
	for _, dataset := range c.listRecordsDatasets(layers, records) {
		err := c.scan(dataset, func(s zfs.Dataset) bool {
			info := c.found[baseName(s.Name)]
			if info != nil && (info.Records == dataset || dataset == records) {
				return true
			}
			return layersGUID(s) == store
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// listRecordsDatasets returns the datasets that may be records datasets of a snapshot. Its name
// in a snapshot is of before the dataset, one above it or the pool was renamed. The datasets
// above the layers are asked, too: most have their layers below their records.
func (c *collector) listRecordsDatasets(layers, records string) []string {
	all := []string{records}
	for above := path.Dir(layers); above != "."; above = path.Dir(above) {
		all = append(all, above)
	}
	for _, info := range c.found {
		all = append(all, info.Records)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(dataset string) bool { return dataset == "" || dataset == layers })
}

func (c *collector) add(dataset string, s zfs.Dataset) {
	name := baseName(s.Name)
	info := c.found[name]
	if info == nil {
		info = &Info{
			Name:      name,
			Event:     Event(propertyText(s, eventProperty)),
			Time:      s.Created().UTC(),
			CreateTXG: s.CreateTXG,
			Scope:     Scope(propertyText(s, scopeProperty)),
			Records:   propertyText(s, recordsProperty),
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

func (c *collector) sortedInfos() []Info {
	infos := make([]Info, 0, len(c.found))
	for _, info := range c.found {
		infos = append(infos, *info)
	}
	sortByTXG(infos)
	return infos
}
