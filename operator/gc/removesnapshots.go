package gc

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

// Snapshots is a snapshotter's store, open as the daemon opens it. Opening it removes the
// layers without a snapshot.
type Snapshots struct {
	open    *snapshotter.Snapshotter
	home    string
	release func() error
}

// OpenSnapshots opens the store at where. It fails with fault.Busy while the daemon has it
// open. The caller holds the lock of changing commands.
func OpenSnapshots(ctx context.Context, where host.Location) (*Snapshots, error) {
	options, err := overlayzfs.ParseOptions([]string{"overlayzfs.dataset=" + where.Dataset})
	if err != nil {
		return nil, err
	}
	home, release, err := host.PrepareHome(where)
	if err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	open, err := snapshotter.Open(ctx, snapshotter.Options{Home: home, Store: options}, log)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Snapshots{open, home, release}, nil
}

// Remove removes snapshots and their layers, in this order, and waits until their files are
// deleted. It calls step after each, and returns the names of those removed even when it
// fails.
func (s *Snapshots) Remove(ctx context.Context, names []string, step func()) (removed []string, err error) {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if err := s.open.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) { // opening the store removes what was torn
			return removed, fmt.Errorf("snapshot %s: %w", name, err)
		}
		removed = append(removed, name)
		step()
	}
	return removed, s.open.Cleanup(ctx)
}

// Close closes the store. The snapshotter leaves the dataset mounted, for containers; no
// container uses this mount.
func (s *Snapshots) Close() error {
	return errors.Join(s.open.Close(), mount.Unmount(s.home), s.release())
}
