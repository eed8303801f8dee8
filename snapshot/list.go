package snapshot

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Info is one snapshot of ours: what has one name on all its datasets.
type Info struct {
	Name      string    `json:"name"` // what stands after the @
	Event     Event     `json:"event"`
	Time      time.Time `json:"time"` // by the clock of then; CreateTXG orders
	CreateTXG uint64    `json:"createtxg"`
	Scope     Scope     `json:"scope"`
	Records   string    `json:"records,omitempty"` // the records dataset in it
	Datasets  []string  `json:"datasets"`          // that have it, the layers dataset first
	Used      uint64    `json:"used"`              // bytes that nothing else holds
	Clones    uint64    `json:"clones,omitempty"`
	Holds     []Hold    `json:"holds,omitempty"`

	held bool
}

// Hold keeps a snapshot from being destroyed.
type Hold struct {
	Dataset string `json:"dataset"`
	Tag     string `json:"tag"`
}

// Scope is what a snapshot holds.
type Scope string

// The scopes.
const (
	ScopeLayers  Scope = "layers"
	ScopeRecords Scope = "layers+records"
)

// List returns our snapshots of a store, oldest first.
func List(z *zfs.Handle, layers string) ([]Info, error) {
	infos, err := inventory(z, layers, "")
	if err != nil {
		return nil, err
	}
	for i := range infos {
		if infos[i].held {
			if infos[i].Holds, err = holdsOf(z, onEach(infos[i].Datasets, infos[i].Name)); err != nil {
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

// oldestFirst puts snapshots in the order they were made in, which the clock
// does not know.
func oldestFirst(infos []Info) {
	slices.SortStableFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.CreateTXG, b.CreateTXG), cmp.Compare(a.Name, b.Name))
	})
}

// newest returns the latest snapshot of an event.
func newest(infos []Info, e Event) (Info, bool) {
	of := ofEvent(infos, e)
	if len(of) == 0 {
		return Info{}, false
	}
	return of[len(of)-1], true
}

// ofEvent returns the snapshots of an event, oldest first.
func ofEvent(infos []Info, e Event) []Info {
	var of []Info
	for _, info := range infos {
		if info.Event == e {
			of = append(of, info)
		}
	}
	oldestFirst(of)
	return of
}
