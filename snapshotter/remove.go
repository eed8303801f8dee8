package snapshotter

import "context"

// Remove removes a snapshot that has no children.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	return translate("remove snapshot", key, s.remove(ctx, key))
}

func (s *Snapshotter) remove(ctx context.Context, key string) error {
	defer s.hold(key)()
	s.making.RLock()
	defer s.making.RUnlock()
	r, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if err := s.dropAnyway(ctx, key); err != nil {
		return err
	}
	if !r.layered() {
		return s.store.CommitNames(ctx)
	}
	// The name is free by now. What cannot be deleted is left to Cleanup.
	if err := s.store.Remove(context.WithoutCancel(ctx), r.id); err != nil {
		s.log.WithError(err).WithField("snapshot", key).Warn("its layer is left for the next cleanup")
	}
	return nil
}
