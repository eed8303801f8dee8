package snapshotter

import "context"

// Remove removes a snapshot that has no children.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	return translate("remove snapshot", key, s.remove(ctx, key))
}

func (s *Snapshotter) remove(ctx context.Context, key string) error {
	release, err := s.lockSnapshot(ctx, key)
	if err != nil {
		return err
	}
	defer release()
	r, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if err := s.dropUsingReserve(ctx, key); err != nil {
		return err
	}
	if r.hasLayer() {
		// The name is free now. Cleanup removes the layer if this fails.
		if err := s.store.Remove(context.WithoutCancel(ctx), r.id); err != nil {
			s.log.WithError(err).WithField("snapshot", key).Warn("its layer is left for the next cleanup")
		}
	}
	return s.store.CommitRecords(ctx)
}
