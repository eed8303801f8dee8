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

// View makes a read-only snapshot that shows parent.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := s.create(ctx, snapshots.KindView, key, parent, opts)
	return mounts, translate("view snapshot", key, err)
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	if err := checkName(key); err != nil {
		return nil, err
	}
	release, err := s.lockSnapshot(ctx, key)
	if err != nil {
		return nil, err
	}
	defer release()
	plan, err := s.plan(kind, key, parent, opts)
	if err != nil {
		return nil, err
	}
	r, err := s.add(ctx, kind, key, parent, opts)
	if err != nil {
		return nil, err
	}
	mounts, err := s.createLayer(ctx, r, plan)
	if err != nil {
		return nil, errors.Join(err, s.undoCreate(ctx, key, r))
	}
	return mounts, nil
}

// plan is how a new snapshot's layer is made, as its labels ask.
type plan struct {
	layer overlayzfs.CreateOptions
	owner *owner // of the layer's root; nil: the parent's
}

func (s *Snapshotter) plan(kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (p plan, err error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return p, err
		}
	}
	if p.layer, err = s.limits.options(kind, key, parent, s.followedLabels(info.Labels)); err != nil {
		return p, err
	}
	p.owner, err = ownerFrom(info.Labels)
	return p, err
}

// followedLabels returns the labels without containerd's size hint when the store cannot
// limit layers. A hint may be ignored; a limit of ours may not.
func (s *Snapshotter) followedLabels(labels map[string]string) map[string]string {
	if labels[snapshots.LabelSnapshotMaxSize] == "" || s.store.CheckLimits() == nil {
		return labels
	}
	rest := maps.Clone(labels)
	delete(rest, snapshots.LabelSnapshotMaxSize)
	return rest
}

// createLayer creates the layer of a snapshot that has a record.
func (s *Snapshotter) createLayer(ctx context.Context, r record, p plan) ([]mount.Mount, error) {
	// A layer for unpacking an image needs no barrier: it means nothing before its commit.
	recorded := !isUnpackKey(r.info.Name)
	durable := false
	if r.hasLayer() {
		p.layer.Recorded = recorded
		if err := s.store.Create(ctx, r.id, r.parentID, p.layer); err != nil {
			return nil, err
		}
		changed, err := s.setRootOwner(ctx, r, p.owner)
		if err != nil {
			return nil, err
		}
		durable = !changed
	}
	if recorded && !durable {
		if err := s.store.CommitRecords(ctx); err != nil {
			return nil, err
		}
	}
	return s.mounts(ctx, r)
}

// setRootOwner gives the layer's root the requested owner, or its parent's. The owner of /
// that a container sees must not depend on whether the container changed anything.
func (s *Snapshotter) setRootOwner(ctx context.Context, r record, want *owner) (changed bool, err error) {
	if want == nil && r.parentID != "" {
		uid, gid, err := s.store.LayerOwner(ctx, r.parentID)
		if err != nil {
			return false, err
		}
		want = &owner{uid, gid}
	}
	if want == nil || *want == (owner{}) {
		return false, nil // Create made it so
	}
	return true, s.store.Chown(ctx, r.id, want.uid, want.gid)
}

// undoCreate removes the record and the layer of a snapshot that could not be made. It
// works on after the end of ctx, which can be the cause.
func (s *Snapshotter) undoCreate(ctx context.Context, key string, r record) error {
	ctx = context.WithoutCancel(ctx)
	if err := s.dropUsingReserve(ctx, key); err != nil {
		return err
	}
	if !r.hasLayer() {
		return nil
	}
	return s.store.Remove(ctx, r.id)
}
