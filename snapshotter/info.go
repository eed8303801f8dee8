package snapshotter

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// Stat returns the record of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	r, err := s.find(ctx, key)
	return r.info, translate("stat snapshot", key, err)
}

// Update changes a snapshot's labels. It does not change a limit, which was set when the
// snapshot was made.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (updated snapshots.Info, err error) {
	release, err := s.names.Lock(ctx, info.Name)
	if err != nil {
		return updated, translate("update snapshot", info.Name, err)
	}
	defer release()
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		updated, err = storage.UpdateInfo(ctx, info, fieldpaths...)
		return err
	})
	if err == nil {
		err = s.store.CommitRecords(ctx)
	}
	return updated, translate("update snapshot", info.Name, err)
}

// Walk calls fn for every snapshot that a filter matches.
func (s *Snapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	var found []snapshots.Info
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			found = append(found, info)
			return nil
		}, filters...)
	})
	if err != nil {
		return translate("list snapshots", "", err)
	}
	// Outside the transaction: fn may take long, or call the snapshotter.
	for _, info := range found {
		if err := fn(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// Usage returns the space of a snapshot without its parents. For a committed snapshot it is
// the value at its commit.
func (s *Snapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	usage, err := s.usage(ctx, key)
	return usage, translate("usage of snapshot", key, err)
}

func (s *Snapshotter) usage(ctx context.Context, key string) (snapshots.Usage, error) {
	r, err := s.find(ctx, key)
	if err != nil || r.info.Kind != snapshots.KindActive {
		return r.usage, err
	}
	usage, err := s.store.Usage(ctx, r.id)
	return snapshots.Usage{Inodes: usage.Inodes, Size: usage.Allocated}, err
}
