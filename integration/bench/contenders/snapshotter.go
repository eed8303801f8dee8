package contenders

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/errdefs"
	zfs "github.com/containerd/zfs/v2"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

// startSnapshotter starts the snapshotter's process and connects to it as containerd
// does.
func (c *Contender) startSnapshotter() (err error) {
	if c.plugin, err = pluginproc.StartSnapshotter("--root", c.snapshotHome(), "--log-level", "error"); err != nil {
		return err
	}
	client, err := snapclient.Dial(c.plugin.Socket, mobyproxy.Name)
	if err != nil {
		return errors.Join(err, c.plugin.Kill(), c.plugin.Remove())
	}
	c.Snapshots = client.Snapshotter
	c.close = func() error { return errors.Join(client.Close(), c.plugin.Stop(), c.plugin.Remove()) }
	return nil
}

// openSnapshotter opens the snapshotter in this process.
func (c *Contender) openSnapshotter() error {
	s, err := snapshotter.Open(context.Background(), snapshotter.Options{Home: c.snapshotHome(), RemapIDs: true}, logrus.StandardLogger())
	if err != nil {
		return err
	}
	c.Snapshots, c.close = s, s.Close
	return nil
}

// openOverlayfs opens containerd's snapshotter with containerd's default options.
func (c *Contender) openOverlayfs() error {
	s, err := overlay.NewSnapshotter(filepath.Join(c.Root, "overlayfs"), overlay.AsynchronousRemove, overlay.WithRemapIDs)
	return c.setSnapshotter(s, err)
}

// openZFS opens containerd's snapshotter that clones a dataset for each layer.
func (c *Contender) openZFS() error {
	s, err := zfs.NewSnapshotter(c.Root)
	return c.setSnapshotter(s, err)
}

func (c *Contender) setSnapshotter(s snapshots.Snapshotter, err error) error {
	if err == nil {
		c.Snapshots, c.close = s, s.Close
	}
	return err
}

// snapshotHome returns the snapshotter's home, where AwaitIdle looks for layers that
// are still being removed.
func (c *Contender) snapshotHome() string { return filepath.Join(c.Root, mobyproxy.Name) }

// cleanUpSnapshotter has a snapshotter delete what it has put off, as containerd does
// after each garbage collection.
func (c *Contender) cleanUpSnapshotter() error {
	cleaner, ok := c.Snapshots.(snapshots.Cleaner)
	if !ok {
		return nil
	}
	err := cleaner.Cleanup(context.Background())
	if errdefs.IsNotFound(err) {
		return nil // the snapshotter has had no snapshot yet
	}
	return err
}
