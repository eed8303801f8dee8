package snapshotter

import (
	"context"
	"errors"
	"maps"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Prepare makes an active snapshot.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := s.create(ctx, snapshots.KindActive, key, parent, opts)
	return mounts, translate("prepare snapshot", key, err)
}

// View makes a snapshot that shows parent and is not written to.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := s.create(ctx, snapshots.KindView, key, parent, opts)
	return mounts, translate("view snapshot", key, err)
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	if err := checkName(key); err != nil {
		return nil, err
	}
	defer s.hold(key)()
	s.making.RLock()
	defer s.making.RUnlock()
	plan, err := s.plan(kind, key, parent, opts)
	if err != nil {
		return nil, err
	}
	r, err := s.add(ctx, kind, key, parent, opts)
	if err != nil {
		return nil, err
	}
	mounts, err := s.make(ctx, r, plan)
	if err != nil {
		return nil, errors.Join(err, s.undo(ctx, key, r))
	}
	return mounts, nil
}

// plan is what a new snapshot's labels ask for.
type plan struct {
	layer overlayzfs.CreateOptions
	owner *owner // of its root; nil: as its parent's
}

func (s *Snapshotter) plan(kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (p plan, err error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return p, err
		}
	}
	if p.layer, err = s.limits.options(kind, key, parent, s.kept(info.Labels)); err != nil {
		return p, err
	}
	p.owner, err = ownerFrom(info.Labels)
	return p, err
}

// kept are the labels without containerd's hint, where no limit can be kept: who
// gives a hint does not depend on it.
func (s *Snapshotter) kept(labels map[string]string) map[string]string {
	if labels[snapshots.LabelSnapshotMaxSize] == "" || s.store.CheckLimits() == nil {
		return labels
	}
	rest := maps.Clone(labels)
	delete(rest, snapshots.LabelSnapshotMaxSize)
	return rest
}

// make makes the layer of a snapshot that has a record.
func (s *Snapshotter) make(ctx context.Context, r record, p plan) ([]mount.Mount, error) {
	if r.layered() {
		if err := s.store.Create(ctx, r.id, r.below, p.layer); err != nil {
			return nil, err
		}
		if err := s.own(ctx, r, p.owner); err != nil {
			return nil, err
		}
	}
	// What an image is unpacked into means nothing before it is committed.
	if !unpacks(r.info.Name) {
		if err := s.store.CommitNames(ctx); err != nil {
			return nil, err
		}
	}
	return s.mounts(ctx, r)
}

// own gives the layer's root the owner that was asked for, or its parent's:
// what a container sees as the owner of / must not depend on whether it changed
// anything.
func (s *Snapshotter) own(ctx context.Context, r record, want *owner) error {
	if want == nil && r.below != "" {
		uid, gid, err := s.store.LayerOwner(ctx, r.below)
		if err != nil {
			return err
		}
		want = &owner{uid, gid}
	}
	if want == nil || *want == (owner{}) {
		return nil // as it was made
	}
	return s.store.Chown(ctx, r.id, want.uid, want.gid)
}

// undo takes back what was begun. The caller's context may be what ended it.
func (s *Snapshotter) undo(ctx context.Context, key string, r record) error {
	ctx = context.WithoutCancel(ctx)
	if err := s.dropAnyway(ctx, key); err != nil {
		return err
	}
	if !r.layered() {
		return nil
	}
	return s.store.Remove(ctx, r.id)
}
