//go:build vm

package snapshots

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	zfs "github.com/containerd/zfs/v2"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel)
	os.Exit(m.Run())
}

// filesystemKind tells the suite which file system is mounted. overlayfs without
// redirect_dir does not rename a directory of a lower layer, and the suite does not ask
// for it.
const filesystemKind = "overlayfs"

func TestSnapshotter(t *testing.T) {
	testsuite.SnapshotterSuite(t, filesystemKind, openInProcess)
}

func TestSnapshotterThroughItsSocket(t *testing.T) {
	testsuite.SnapshotterSuite(t, filesystemKind, serveOnSocket)
}

func TestOverlayfsForComparison(t *testing.T) {
	testsuite.SnapshotterSuite(t, filesystemKind, func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		s, err := overlay.NewSnapshotter(root)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	})
}

// TestZFSForComparison mounts a dataset on each root, which containerd's zfs snapshotter
// needs.
func TestZFSForComparison(t *testing.T) {
	var made atomic.Int64 // the suite's tests run in parallel
	testsuite.SnapshotterSuite(t, "zfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		dataset := fmt.Sprintf("tank/comparison-%d", made.Add(1))
		if out, err := exec.Command("zfs", "create", "-o", "mountpoint="+root, dataset).CombinedOutput(); err != nil {
			return nil, nil, fmt.Errorf("zfs create %s: %w: %s", dataset, err, out)
		}
		s, err := zfs.NewSnapshotter(root)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error {
			err := s.Close()
			out, destroyed := exec.Command("zfs", "destroy", "-R", "-f", dataset).CombinedOutput()
			if destroyed != nil {
				destroyed = fmt.Errorf("zfs destroy %s: %w: %s", dataset, destroyed, out)
			}
			return errors.Join(err, destroyed)
		}, nil
	})
}

func openInProcess(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	s, err := snapshotter.Open(ctx, snapshotter.Options{Home: root, RemapIDs: true}, logrus.StandardLogger())
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

// serveOnSocket serves a store as the daemon does, and returns containerd's client of
// it.
func serveOnSocket(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	dir, err := os.MkdirTemp("/run", "snapshotter-")
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, nil, err
	}
	client, err := snapclient.Dial(path, "overlayzfs")
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	log := logrus.StandardLogger()
	go func() {
		ended <- snapshotter.NewServer(log).Serve(ctx, l, snapshotter.Opener(snapshotter.Options{Home: root, RemapIDs: true}, log))
	}()
	return client.Snapshotter, func() error {
		err := client.Close()
		stop()
		return errors.Join(err, <-ended, os.RemoveAll(dir))
	}, nil
}
