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

// lockWait is how long openRecords waits for a process that is about to end and still has
// the file of records locked.
const lockWait = 10 * time.Second

// openRecords opens the file of records, and creates it when it is missing.
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

// checkName refuses a name that cannot be the key of a record.
func checkName(name string) error {
	if name == "" || len(name) > bbolt.MaxKeySize {
		return fault.New(fault.Invalid, "the name of a snapshot has %d bytes: want 1 to %d", len(name), bbolt.MaxKeySize)
	}
	return nil
}

// record is the record of a snapshot, with the IDs of its layer and of its parent's.
type record struct {
	id       string
	info     snapshots.Info
	usage    snapshots.Usage
	parentID string // the parent's layer; "" without a parent
}

// hasLayer reports whether the snapshot has a layer of its own.
func (r record) hasLayer() bool { return hasLayer(r.info) }

// hasLayer reports whether a snapshot has a layer of its own. A view has one only without
// a parent: it has to show an empty directory.
func hasLayer(info snapshots.Info) bool {
	return info.Kind != snapshots.KindView || info.Parent == ""
}

// find reads the record of a snapshot.
func (s *Snapshotter) find(ctx context.Context, key string) (r record, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		r, err = read(ctx, key)
		return err
	})
	return r, err
}

// read is find within a transaction.
func read(ctx context.Context, key string) (r record, err error) {
	if r.id, r.info, r.usage, err = storage.GetInfo(ctx, key); err != nil {
		return r, err
	}
	if r.info.Parent != "" {
		r.parentID, _, _, err = storage.GetInfo(ctx, r.info.Parent)
	}
	return r, err
}

// add creates the record of a new snapshot.
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
