package receive

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// ReadReceiving returns the stream that is being received on the dataset. It is empty when
// there is none; Finish can be repeated then.
func (r *Receiver) ReadReceiving() (overlayzfs.Receiving, error) {
	receiving, err := overlayzfs.ReadReceiving(r.ZFS, r.Where.Dataset)
	if err != nil || receiving == nil {
		return overlayzfs.Receiving{}, err
	}
	return *receiving, nil
}

// Finish makes a received store this host's: it installs the records in the data-root and
// removes the layers of the other host's containers. It can be repeated after an
// interruption. It checks the received store first, and removes one that is not ours.
func (r *Receiver) Finish(ctx context.Context, receiving overlayzfs.Receiving) (images int, err error) {
	err = overlayzfs.CheckReceived(r.Where.Dataset)
	if errors.Is(err, fault.UnsafeInput) {
		return 0, r.reject(ctx, receiving, err)
	}
	if err == nil {
		images, err = installAndAdopt(ctx, r.Where)
	}
	if err != nil {
		return 0, fmt.Errorf("the stream is received, and the rest is not done: %w: `%s` does it: %w", err, r.Remedy, ErrUnfinished)
	}
	return images, nil
}

// CheckFinish fails when finishing would delete what this host has created since. It
// removes a received store that is not ours.
func (r *Receiver) CheckFinish(ctx context.Context, receiving overlayzfs.Receiving) error {
	switch err := overlayzfs.CheckReceived(r.Where.Dataset); {
	case errors.Is(err, fault.UnsafeInput):
		return r.reject(ctx, receiving, err)
	case err != nil:
		return err
	}
	return r.checkLosses(receiving)
}

// checkLosses fails when finishing would delete images or containers. The data-root may
// have the records from before the stream, or already those that came with it.
func (r *Receiver) checkLosses(receiving overlayzfs.Receiving) error {
	from := ""
	if receiving.From != "" {
		from = r.snapshotOf(receiving.From)
	}
	known, err := readSnapshot(from)
	if err != nil {
		return err
	}
	view, err := overlayzfs.OpenDatasetReadOnly(r.Where.Dataset)
	if err != nil {
		return err
	}
	came, err := readRecords(view)
	if err := errors.Join(err, view.Close()); err != nil {
		return err
	}
	lost, first, _, err := compareRecords(r.Where, came, known)
	if err != nil {
		return err
	}
	if len(first) > 0 || len(lost) > 0 && !r.Discard {
		return fmt.Errorf("this host has what would be lost (%q; images only go with --discard): %w", append(first, lost...), ErrRefused)
	}
	return nil
}

// installAndAdopt installs the records that the store carries, and adopts the store.
func installAndAdopt(ctx context.Context, where host.Location) (images int, err error) {
	images, foreign, err := installRecords(where)
	if err != nil {
		return 0, err
	}
	return images, adoptStore(ctx, where, foreign)
}

// installRecords puts the carried records into the data-root, and finds the layers
// that no record names.
func installRecords(where host.Location) (images int, foreign []string, err error) {
	view, err := overlayzfs.OpenDatasetReadOnly(where.Dataset)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	err = useRecords(view, func(docker *dockerstore.Root, records *dockerstore.Records) error {
		images = len(records.Images)
		seen, err := view.Layers()
		if err != nil {
			return err
		}
		if foreign, err = transfer.FindForeignLayers(seen, records); err != nil {
			return err
		}
		return transfer.Install(where.Root, where.Driver, docker, records)
	})
	return images, foreign, err
}

// adoptStore makes the store this host's, without the layers of the other host's
// containers. Its last step clears the property.
func adoptStore(ctx context.Context, where host.Location, foreign []string) (err error) {
	options, err := plugin.StoreOptions(nil)
	if err != nil {
		return err
	}
	options.Receiving = true
	store, closeStore, err := host.OpenStore(ctx, where, options)
	if err != nil {
		return refuseBusy(err)
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	for _, id := range foreign {
		if err := store.Remove(ctx, id); err != nil {
			return fmt.Errorf("layer %s, which came with the stream and is no image's: %w", id, err)
		}
	}
	return store.AcceptReceived(ctx)
}
