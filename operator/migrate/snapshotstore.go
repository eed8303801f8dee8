package migrate

import (
	"context"
	"errors"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// snapshotStore is the target of an Import: the snapshotter behind containerd. The layers'
// IDs are those of the old driver.
type snapshotStore struct {
	client    *imagestore.Client
	setLimit  func(ctx context.Context, container string, options map[string]string) error
	snapshots map[string]imagestore.Snapshot // by layer ID
	order     []string
}

// expect sets the layers that the store takes.
func (s *snapshotStore) expect(items []item, records *dockerstore.Records) {
	s.snapshots = map[string]imagestore.Snapshot{"": {}}
	inits := map[string]bool{}
	for _, m := range records.Mounts {
		inits[m.InitID] = true
	}
	for _, it := range items {
		parent := s.snapshots[it.parent].Name
		switch {
		case it.image != nil:
			s.snapshots[it.id] = imagestore.ImageSnapshot(it.image.Chain, it.image.Parent)
		case inits[it.id]:
			s.snapshots[it.id] = imagestore.InitSnapshot(it.owner, parent)
		default:
			s.snapshots[it.id] = imagestore.ContainerSnapshot(it.owner, parent)
		}
		s.order = append(s.order, it.id)
	}
}

func (s *snapshotStore) find(id string) (imagestore.Snapshot, error) {
	snapshot, ok := s.snapshots[id]
	if !ok {
		return snapshot, fault.New(fault.NotFound, "layer %s is not one of the migration", id)
	}
	return snapshot, nil
}

// Layers returns the layers that are in the store.
func (s *snapshotStore) Layers(ctx context.Context) (ids []string, err error) {
	for _, id := range s.order {
		has, err := s.client.HasSnapshot(ctx, s.snapshots[id])
		if err != nil {
			return nil, err
		}
		if has {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Create makes an empty snapshot.
func (s *snapshotStore) Create(ctx context.Context, id, _ string, o overlayzfs.CreateOptions) error {
	snapshot, err := s.find(id)
	if err != nil {
		return err
	}
	if err := s.client.PrepareSnapshot(ctx, snapshot); err != nil || len(o.StorageOpt) == 0 {
		return err
	}
	return s.setLimit(ctx, snapshot.Key, o.StorageOpt)
}

// Fill has write fill a snapshot, and commits it, unless a container writes to it.
func (s *snapshotStore) Fill(ctx context.Context, id string, write func(dir *os.File) error) error {
	snapshot, err := s.find(id)
	if err != nil {
		return err
	}
	upper, err := s.client.FindUpper(ctx, snapshot)
	if err != nil {
		return err
	}
	dir, err := os.Open(upper)
	if err != nil {
		return err
	}
	if err := errors.Join(write(dir), dir.Close()); err != nil {
		return err
	}
	return s.client.CommitSnapshot(ctx, snapshot)
}

// Remove removes a snapshot that was not filled, or was by an earlier run.
func (s *snapshotStore) Remove(ctx context.Context, id string) error {
	snapshot, err := s.find(id)
	if err != nil {
		return err
	}
	return s.client.AbandonSnapshot(ctx, snapshot)
}

// WaitReaper does nothing: containerd removes on its own.
func (s *snapshotStore) WaitReaper(context.Context) error { return nil }
