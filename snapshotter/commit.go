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

// apparentLabel holds, on a committed snapshot, the sum of its files' lengths. Usage
// returns the space they take.
const apparentLabel = "containerd.io/snapshot/overlayzfs.apparent-size"

// Commit turns an active snapshot into a committed one with another name. Content and name
// are on disk when it returns.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return translate("commit snapshot", key, s.commit(ctx, name, key, opts))
}

func (s *Snapshotter) commit(ctx context.Context, name, key string, opts []snapshots.Opt) error {
	release, err := s.lockSnapshot(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	r, err := s.findCommittable(ctx, name, key)
	if err != nil {
		return err
	}
	if err := s.rebase(ctx, r, opts); err != nil {
		return err
	}
	return s.store.CommitLayer(ctx, r.id, isUnpackKey(key), func() error {
		usage, err := s.store.Usage(ctx, r.id)
		if err != nil {
			return err
		}
		opts := append(slices.Clone(opts), snapshots.WithLabels(map[string]string{apparentLabel: strconv.FormatInt(usage.Apparent, 10)}))
		return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
			_, err := storage.CommitActive(ctx, key, name, snapshots.Usage{Inodes: usage.Inodes, Size: usage.Allocated}, opts...)
			return err
		})
	})
}

// findCommittable returns the record of key. It refuses early what the transaction would
// refuse after a wait for the disk.
func (s *Snapshotter) findCommittable(ctx context.Context, name, key string) (r record, err error) {
	if err := checkName(name); err != nil {
		return r, err
	}
	_, err = s.find(ctx, name)
	if err == nil {
		return r, fault.New(fault.Exists, "there is a snapshot %.200q already", name)
	}
	if !errdefs.IsNotFound(err) {
		return r, err
	}
	r, err = s.find(ctx, key)
	if err == nil && r.info.Kind != snapshots.KindActive {
		err = errors.Join(errdefs.ErrFailedPrecondition, errors.New("it is not active"))
	}
	return r, err
}

// rebase gives a layer that was unpacked in parallel its parent.
func (s *Snapshotter) rebase(ctx context.Context, r record, opts []snapshots.Opt) error {
	var base snapshots.Info
	for _, opt := range opts {
		if err := opt(&base); err != nil {
			return err
		}
	}
	if base.Parent == "" || base.Parent == r.info.Parent || r.info.Parent != "" {
		return nil // the transaction refuses another parent
	}
	if isUnpackKey(r.info.Name) && !isParallelUnpack(r.info) {
		return fault.New(fault.Unsupported, "this containerd unpacks layers in parallel and did not say so when it began, so the layer's deletions are lost; remove \"rebase\" from the capabilities in its proxy_plugins")
	}
	parent, err := s.find(ctx, base.Parent)
	if err != nil {
		return err
	}
	if parent.info.Kind != snapshots.KindCommitted {
		return fault.New(fault.Invalid, "parent %.200q is not committed", base.Parent)
	}
	return s.store.Rebase(ctx, r.id, parent.id)
}
