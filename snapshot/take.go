package snapshot

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// maxTries is how often a snapshot is tried again: when its name is taken, or when limited
// layers were created or removed meanwhile.
const maxTries = 1000

// target is the datasets that snapshots cover.
type target struct {
	zfs     *zfs.Handle
	layers  string
	records string // empty when snapshots do not cover it
	more    func() ([]string, error)
}

// TakeManually takes a snapshot that no retention destroys, and returns its name. more, if not
// nil, lists further datasets that it covers.
func TakeManually(ctx context.Context, z *zfs.Handle, layers, records string, more func() ([]string, error)) (string, error) {
	if err := checkDatasets(z, layers, records); err != nil {
		return "", err
	}
	s := target{zfs: z, layers: layers, records: records, more: more}
	return s.take(ctx, Manual, time.Now())
}

// take takes one snapshot and returns its name.
func (s target) take(ctx context.Context, e Event, at time.Time) (string, error) {
	stats, err := s.requireNoRollback()
	if err != nil {
		return "", err
	}
	suffix := 1
	for range maxTries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		name := makeName(e, at, suffix)
		whole, err := s.tryTake(e, name, stats.GUID)
		switch {
		case errors.Is(err, zfs.ErrExist):
			suffix++
		case errors.Is(err, zfs.ErrNotExist):
			// A limited layer was removed meanwhile, or one of the two datasets is gone. The
			// checks here find out about the latter.
			if _, err := s.requireNoRollback(); err != nil {
				return "", err
			}
			if err := s.requireRecords(); err != nil {
				return "", err
			}
		case err != nil:
			return "", err
		case whole:
			return name, nil
		}
	}
	return "", fault.NewWithRemedy(fault.Busy, "no %s snapshot of %s: %d times in a row its name existed, or limited layers were created or removed meanwhile; try again when fewer layers change", e, s.layers, maxTries)
}

// requireNoRollback returns the layers dataset. It fails while a rollback of it is unfinished,
// because a newer snapshot would be in the rollback's way.
func (s target) requireNoRollback() (zfs.Dataset, error) {
	stats, err := s.zfs.DatasetStats(s.layers)
	if err == nil && pendingRollback(stats) != "" {
		err = UnfinishedError(s.layers, pendingRollback(stats))
	}
	return stats, err
}

func (s target) requireRecords() error {
	if s.records == "" {
		return nil
	}
	_, err := s.zfs.DatasetStats(s.records)
	return err
}

// tryTake takes a snapshot of the existing datasets and reports whether it is complete. A
// limited layer that was created after the listing is in the layers dataset's snapshot, and
// its own dataset is not covered. Such a snapshot is destroyed.
func (s target) tryTake(e Event, name string, guid uint64) (whole bool, err error) {
	children, err := limitedChildren(s.zfs, s.layers)
	if err != nil {
		return false, err
	}
	datasets := s.datasets(children)
	if s.more != nil {
		more, err := s.more()
		if err != nil {
			return false, err
		}
		datasets = append(datasets, more...)
	}
	snaps := snapshotNames(datasets, name)
	if err := s.zfs.Snapshot(snaps, properties(e, guid, s.records, s.limitedKeys(children))); err != nil {
		return false, err
	}
	whole, err = s.isComplete(name, children)
	if err != nil || whole {
		return whole, err
	}
	return false, s.zfs.DestroySnapshots(snaps, false)
}

func (s target) datasets(children []zfs.Dataset) []string {
	all := []string{s.layers}
	for _, child := range children {
		all = append(all, child.Name)
	}
	if s.records != "" && s.records != s.layers {
		all = append(all, s.records)
	}
	return all
}

// limitedKeys returns the keys of limited layers. A spare dataset has no layer yet. It is in the
// snapshot because it can get one at any time.
func (s target) limitedKeys(children []zfs.Dataset) []string {
	keys := make([]string, 0, len(children))
	for _, child := range children {
		if !quota.IsSpare(child) {
			keys = append(keys, keyOf(child.Name))
		}
	}
	return keys
}

// isComplete looks for limited layers as old as the snapshot that are not in it.
func (s target) isComplete(name string, taken []zfs.Dataset) (bool, error) {
	stats, err := s.zfs.DatasetStats(snapshotName(s.layers, name))
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
	for _, child := range now {
		if !in[child.GUID] && child.CreateTXG <= stats.CreateTXG {
			return false, nil
		}
	}
	return true, nil
}

// limitedChildren returns the datasets of limited layers, by name. No snapshot includes those
// of removed layers: it would keep them for the next snapshot, and so for ever.
func limitedChildren(z *zfs.Handle, layers string) ([]zfs.Dataset, error) {
	live, _, err := quota.ListDatasets(z, layers)
	return live, err
}

// keyOf returns the key of a limited layer, of its dataset's name.
func keyOf(dataset string) string { return path.Base(dataset) }
