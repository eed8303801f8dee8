package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// tries bounds how often a snapshot is tried again: for a name in the way,
// and for limited layers that come and go meanwhile.
const tries = 1000

// store is where snapshots are taken of.
type store struct {
	zfs     *zfs.Handle
	layers  string
	records string // empty: not in the snapshots
}

// TakeManually takes a snapshot that no retention ever destroys, and returns
// its name.
func TakeManually(ctx context.Context, z *zfs.Handle, layers, records string) (string, error) {
	if err := checkDatasets(z, layers, records); err != nil {
		return "", err
	}
	s := store{zfs: z, layers: layers, records: records}
	return s.take(ctx, Manual, time.Now())
}

// take takes one snapshot and returns its name.
func (s store) take(ctx context.Context, e Event, at time.Time) (string, error) {
	stats, err := s.unmarked()
	if err != nil {
		return "", err
	}
	suffix := 1
	for range tries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		name := nameOf(e, at, suffix)
		whole, err := s.try(e, name, stats.GUID)
		switch {
		case errors.Is(err, zfs.ErrExist):
			suffix++
		case errors.Is(err, zfs.ErrNotExist):
			// A limited layer was removed meanwhile, or a dataset of ours is
			// gone, which the next try finds.
			if _, err := s.unmarked(); err != nil {
				return "", err
			}
			if err := s.recordsThere(); err != nil {
				return "", err
			}
		case err != nil:
			return "", err
		case whole:
			return name, nil
		}
	}
	return "", fault.NewWithRemedy(fault.Busy, "no %s snapshot of %s: names were taken, or limited layers came and went, %d times in a row; try again when less is made and removed", e, s.layers, tries)
}

// unmarked returns the layers dataset, unless it is waiting for a rollback to
// be finished: a snapshot would stand in its way.
func (s store) unmarked() (zfs.Dataset, error) {
	stats, err := s.zfs.DatasetStats(s.layers)
	if err == nil && markOf(stats) != "" {
		err = UnfinishedError(s.layers, markOf(stats))
	}
	return stats, err
}

func (s store) recordsThere() error {
	if s.records == "" {
		return nil
	}
	_, err := s.zfs.DatasetStats(s.records)
	return err
}

// try takes a snapshot of what there is, and reports whether it is whole: a
// limited layer that was made between looking and taking is in the layers
// dataset's snapshot, but its dataset is not. Such a snapshot is destroyed.
func (s store) try(e Event, name string, guid uint64) (whole bool, err error) {
	children, err := limitedChildren(s.zfs, s.layers)
	if err != nil {
		return false, err
	}
	children = living(children)
	snaps := onEach(s.datasets(children), name)
	if err := s.zfs.Snapshot(snaps, properties(e, guid, s.records, s.keys(children))); err != nil {
		return false, err
	}
	whole, err = s.whole(name, children)
	if err != nil || whole {
		return whole, err
	}
	return false, s.zfs.DestroySnapshots(snaps, false)
}

func (s store) datasets(children []zfs.Dataset) []string {
	all := []string{s.layers}
	for _, child := range children {
		all = append(all, child.Name)
	}
	if s.records != "" && s.records != s.layers {
		all = append(all, s.records)
	}
	return all
}

func (s store) keys(children []zfs.Dataset) []string {
	keys := make([]string, len(children))
	for i, child := range children {
		keys[i] = keyOf(s.layers, child.Name)
	}
	return keys
}

// whole looks for limited layers that are as old as the snapshot and not in it.
func (s store) whole(name string, taken []zfs.Dataset) (bool, error) {
	stats, err := s.zfs.DatasetStats(full(s.layers, name))
	if err != nil {
		return false, err
	}
	now, err := limitedChildren(s.zfs, s.layers)
	if err != nil {
		return false, err
	}
	in := make(map[uint64]bool, len(taken))
	for _, child := range taken {
		in[child.GUID] = true
	}
	for _, child := range living(now) {
		if !in[child.GUID] && child.CreateTXG <= stats.CreateTXG {
			return false, nil
		}
	}
	return true, nil
}
