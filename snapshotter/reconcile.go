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

// Cleanup deletes layers that no snapshot has any more, and waits until the
// space of all that were removed is given back.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	left, err := s.reconcile(ctx)
	err = errors.Join(err, left, s.store.WaitReaper(ctx))
	s.refill()
	return translate("clean up", "", err)
}

// reconcile puts records and layers in order, whichever step the process
// before was killed at. What it has to leave as it is, and why, is in left: that
// does no harm, and is for the next cleanup.
func (s *Snapshotter) reconcile(ctx context.Context) (left, err error) {
	strays, left, err := s.compare(ctx)
	for _, id := range strays {
		s.log.WithField("layer", id).Info("removed: no snapshot has it")
		// The number is never given again, so nobody waits for this.
		left = errors.Join(left, s.store.Remove(ctx, id))
	}
	return left, err
}

// compare forgets records whose layers were not finished, and returns the layers
// that have no record.
func (s *Snapshotter) compare(ctx context.Context) (strays []string, left, err error) {
	s.making.Lock()
	defer s.making.Unlock()
	layers, err := s.numbered(ctx)
	if err != nil {
		return nil, nil, err
	}
	known, err := s.records(ctx, len(layers))
	if err != nil {
		return nil, nil, err
	}
	there := make(map[string]bool, len(layers))
	for _, id := range layers {
		there[id] = true
		if _, ok := known[id]; !ok {
			strays = append(strays, id)
		}
	}
	for id, info := range known {
		if layered(info) && !there[id] {
			left = errors.Join(left, s.missing(ctx, info))
		}
	}
	return strays, left, nil
}

// numbered are the layers that this door made.
func (s *Snapshotter) numbered(ctx context.Context) ([]string, error) {
	layers, err := s.store.Layers(ctx)
	return slices.DeleteFunc(layers, func(id string) bool { return !isNumber(id) }), err
}

// isNumber reports whether a layer has an ID that only this door gives.
func isNumber(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == id
}

// missing forgets a snapshot that was being made when the process ended. That of
// an image stays: what was answered is not silently unsaid.
func (s *Snapshotter) missing(ctx context.Context, info snapshots.Info) error {
	log := s.log.WithField("snapshot", info.Name)
	if info.Kind == snapshots.KindCommitted {
		log.Error("its layer is gone; remove the image and pull it again")
		return nil
	}
	log.Info("forgotten: its layer was never finished")
	return s.dropAnyway(ctx, info.Name)
}

// records are all snapshots by their layers' IDs. A file of records in which
// there never was one is a new store's: beside layers it is not the one that was
// there, and nothing says which of them are needed.
func (s *Snapshotter) records(ctx context.Context, layers int) (known map[string]snapshots.Info, err error) {
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
		return nil, fault.New(fault.NotFound, "the records of snapshots (%s) are lost, and %d layers are there: get the file back, from a snapshot of the dataset, say; or, to give all images and containers up, begin with an empty dataset", s.file, layers)
	}
	return nil, s.begin(ctx)
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

// begin makes the file of records one that can be read: nothing but a first
// snapshot does. It spends a number.
func (s *Snapshotter) begin(ctx context.Context) error {
	return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		const first = "overlayzfs"
		if _, err := storage.CreateSnapshot(ctx, snapshots.KindView, first, ""); err != nil {
			return err
		}
		_, _, err := storage.Remove(ctx, first)
		return err
	})
}
