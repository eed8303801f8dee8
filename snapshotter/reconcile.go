package snapshotter

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Cleanup removes layers without a snapshot, and waits until the space of all removed
// layers is free.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	left, err := s.reconcile(ctx)
	err = errors.Join(err, left, s.store.WaitReaper(ctx))
	s.ensureReserve()
	return translate("clean up", "", err)
}

// reconcile removes layers without a record and records without a layer, whichever step
// the previous process was killed at. left is the reason why some could not be removed:
// that does no harm, and the next cleanup tries again.
func (s *Snapshotter) reconcile(ctx context.Context) (left, err error) {
	orphans, left, err := s.findOrphans(ctx)
	for _, id := range orphans {
		s.log.WithField("layer", id).Info("removed: no snapshot has it")
		// The number is never used again, so no call depends on this.
		left = errors.Join(left, s.store.Remove(ctx, id))
	}
	return left, err
}

// findOrphans returns the layers without a record, and drops the records whose layers were
// not finished.
func (s *Snapshotter) findOrphans(ctx context.Context) (orphans []string, left, err error) {
	release, err := s.recordAhead.Lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	layers, err := s.listDoorLayers(ctx)
	if err != nil {
		return nil, nil, err
	}
	known, err := s.readRecords(ctx, len(layers))
	if err != nil {
		return nil, nil, err
	}
	there := make(map[string]bool, len(layers))
	for _, id := range layers {
		there[id] = true
		if _, ok := known[id]; !ok {
			orphans = append(orphans, id)
		}
	}
	torn, left := s.store.RemoveTorn(ctx, activeLayers(known))
	for _, id := range torn {
		there[id] = false
	}
	for id, info := range known {
		if hasLayer(info) && !there[id] {
			left = errors.Join(left, s.handleMissingLayer(ctx, info))
		}
	}
	return orphans, left, nil
}

// activeLayers returns the layers that a power cut may have torn: their records are on disk
// before they are made. A committed layer is durable before its record.
func activeLayers(known map[string]snapshots.Info) (ids []string) {
	for id, info := range known {
		if hasLayer(info) && info.Kind != snapshots.KindCommitted {
			ids = append(ids, id)
		}
	}
	return ids
}

// listDoorLayers returns the layers that this door made.
func (s *Snapshotter) listDoorLayers(ctx context.Context) ([]string, error) {
	layers, err := s.store.Layers(ctx)
	return slices.DeleteFunc(layers, func(id string) bool { return !isNumber(id) }), err
}

// isNumber reports whether id is a decimal number, the form of this door's IDs.
func isNumber(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == id
}

// handleMissingLayer drops the record of a snapshot that was being made when the process
// ended. It keeps a committed snapshot, whose commit was answered, and logs an error.
func (s *Snapshotter) handleMissingLayer(ctx context.Context, info snapshots.Info) error {
	log := s.log.WithField("snapshot", info.Name)
	if info.Kind == snapshots.KindCommitted {
		log.Error("its layer is gone; remove the image and pull it again")
		return nil
	}
	log.Info("forgotten: its layer was never finished")
	return s.dropUsingReserve(ctx, info.Name)
}

// readRecords returns all snapshots by their layers' IDs. A file that never had a record
// belongs to a new store. Next to layers it means that the records are lost: nothing says
// which layers are needed, so readRecords fails.
func (s *Snapshotter) readRecords(ctx context.Context, layers int) (known map[string]snapshots.Info, err error) {
	began := true
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		if _, err := storage.IDMap(ctx); errdefs.IsNotFound(err) {
			began = false
			return nil
		}
		known, err = readAll(ctx)
		return err
	})
	switch {
	case err != nil || began:
		return known, err
	case layers > 0:
		return nil, fault.New(fault.NotFound, "the records of snapshots (%s) are lost, and %d layers exist: restore the file, for example from a snapshot of the dataset; or, to give up all images and containers, start with an empty dataset", s.file, layers)
	}
	return nil, s.initRecords(ctx)
}

func readAll(ctx context.Context) (map[string]snapshots.Info, error) {
	ids, err := storage.IDMap(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]snapshots.Info, len(ids))
	for id, name := range ids {
		if _, known[id], _, err = storage.GetInfo(ctx, name); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// initRecords makes a new file of records readable, which takes a first snapshot. It uses
// up one number.
func (s *Snapshotter) initRecords(ctx context.Context) error {
	return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		const first = "overlayzfs"
		if _, err := storage.CreateSnapshot(ctx, snapshots.KindView, first, ""); err != nil {
			return err
		}
		_, _, err := storage.Remove(ctx, first)
		return err
	})
}
