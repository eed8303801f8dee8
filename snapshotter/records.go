package snapshotter

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// lockWait is how long the file of records may be held by a process that is
// about to end.
const lockWait = 10 * time.Second

// openRecords opens the file of records, making it when there is none.
func openRecords(path string) (*storage.MetaStore, error) {
	meta, err := storage.NewMetaStore(path, func(o *bbolt.Options) error {
		o.Timeout = lockWait
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("records of snapshots %s: %w", path, err)
	}
	return meta, nil
}

// checkName refuses what cannot be the key of a record.
func checkName(name string) error {
	if name == "" || len(name) > bbolt.MaxKeySize {
		return fault.New(fault.Invalid, "the name of a snapshot has %d bytes: want 1 to %d", len(name), bbolt.MaxKeySize)
	}
	return nil
}

// record is what is known of a snapshot: its layer, if it has one, and that of
// its parent.
type record struct {
	id    string
	info  snapshots.Info
	usage snapshots.Usage
	below string // layer of the parent; "" without
}

// layered reports whether the snapshot has a layer of its own.
func (r record) layered() bool { return layered(r.info) }

// layered is of a view only when it stands on nothing: then there has to be an
// empty directory to show.
func layered(info snapshots.Info) bool {
	return info.Kind != snapshots.KindView || info.Parent == ""
}

// find reads a record.
func (s *Snapshotter) find(ctx context.Context, key string) (r record, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		r, err = read(ctx, key)
		return err
	})
	return r, err
}

// read reads a record within a transaction.
func read(ctx context.Context, key string) (r record, err error) {
	if r.id, r.info, r.usage, err = storage.GetInfo(ctx, key); err != nil {
		return r, err
	}
	if r.info.Parent != "" {
		r.below, _, _, err = storage.GetInfo(ctx, r.info.Parent)
	}
	return r, err
}

// add makes a record of a new snapshot.
func (s *Snapshotter) add(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (r record, err error) {
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		if _, err := storage.CreateSnapshot(ctx, kind, key, parent, opts...); err != nil {
			return err
		}
		r, err = read(ctx, key)
		return err
	})
	return r, err
}

// drop deletes a record.
func (s *Snapshotter) drop(ctx context.Context, key string) error {
	return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, _, err := storage.Remove(ctx, key)
		return err
	})
}
