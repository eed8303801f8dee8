package snapshotter

import (
	"context"
	"errors"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Cleanup deletes layers that no snapshot has any more, and waits until the
// space of all that were removed is given back.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	err := errors.Join(s.reconcile(ctx), s.store.Reaped(ctx))
	s.refill()
	return translate("clean up", "", err)
}

// reconcile puts records and layers in order, whichever step the process
// before was killed at.
func (s *Snapshotter) reconcile(ctx context.Context) error {
	strays, err := s.compare(ctx)
	errs := []error{err}
	for _, id := range strays {
		s.log.WithField("layer", id).Info("removed: no snapshot has it")
		// The number is never given again, so nobody waits for this.
		errs = append(errs, s.store.Remove(ctx, id))
	}
	return errors.Join(errs...)
}

// compare forgets records whose layers were not finished, and returns the layers
// that have no record.
func (s *Snapshotter) compare(ctx context.Context) (strays []string, err error) {
	s.making.Lock()
	defer s.making.Unlock()
	layers, err := s.store.Layers(ctx)
	if err != nil {
		return nil, err
	}
	known, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(layers))
	for _, id := range layers {
		there[id] = true
		if _, ok := known[id]; !ok && isNumber(id) {
			strays = append(strays, id)
		}
	}
	var errs []error
	for id, info := range known {
		if layered(info) && !there[id] {
			errs = append(errs, s.missing(ctx, info))
		}
	}
	return strays, errors.Join(errs...)
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

// records are all snapshots by their layers' IDs.
func (s *Snapshotter) records(ctx context.Context) (known map[string]snapshots.Info, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		known, err = readAll(ctx)
		return err
	})
	if errdefs.IsNotFound(err) {
		return nil, s.begin(ctx)
	}
	return known, err
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
