package layerdiff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/docker/docker/daemon/graphdriver"

	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/internal/retry"
)

// Driver unpacks layers and shows what containers see.
type Driver interface {
	// Apply makes the layer id over parent, which may be empty, of a tar. After an error
	// nothing of it is left.
	Apply(ctx context.Context, id, parent string, tar []byte) error
	// Show calls see with the directory of a container over the layer.
	Show(ctx context.Context, id string, see func(dir string) error) error
	// Remove removes a layer.
	Remove(ctx context.Context, id string) error
}

// Differ is a driver that says what one layer changes over another, any pair of a stack.
type Differ interface {
	Driver
	// Diff returns the tar of the changes. parent may be empty.
	Diff(ctx context.Context, id, parent string) (tar []byte, err error)
}

// Graph is a driver of moby's.
type Graph struct{ graphdriver.Driver }

// Apply implements Driver.
func (g Graph) Apply(_ context.Context, id, parent string, tar []byte) error {
	if err := g.Create(id, parent, nil); err != nil {
		return err
	}
	_, err := g.ApplyDiff(id, parent, bytes.NewReader(tar))
	if err != nil {
		return errors.Join(err, g.remove(context.Background(), id))
	}
	return nil
}

// remove removes a layer. moby's zfs driver detaches a layer's mount, and the dataset is busy
// until that mount has ended.
func (g Graph) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	failed := func(err error) bool { return err != nil }
	return retry.Pauses{First: 10 * time.Millisecond, Most: time.Second}.While(ctx, failed, func() error { return g.Driver.Remove(id) })
}

// Show implements Driver.
func (g Graph) Show(_ context.Context, id string, see func(string) error) (err error) {
	shown := id + "shown"
	if err := g.CreateReadWrite(shown, id, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.remove(context.Background(), shown)) }()
	dir, err := g.Get(shown, "")
	if err != nil {
		return err
	}
	return errors.Join(see(dir), g.Put(shown))
}

// Remove implements Driver.
func (g Graph) Remove(ctx context.Context, id string) error { return g.remove(ctx, id) }

// Diff implements Differ.
func (g Graph) Diff(_ context.Context, id, parent string) ([]byte, error) {
	r, err := g.Driver.Diff(id, parent)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	return raw, errors.Join(err, r.Close())
}

// Snapshots is a snapshotter; containerd's code unpacks.
type Snapshots struct{ snapshots.Snapshotter }

// Apply implements Driver.
func (s Snapshots) Apply(ctx context.Context, id, parent string, tar []byte) error {
	err := snapclient.Unpack(ctx, s, id, parent, bytes.NewReader(tar), int64(len(tar)))
	if err != nil {
		return errors.Join(err, s.Snapshotter.Remove(ctx, snapclient.ExtractKey(id)))
	}
	return nil
}

// Show implements Driver.
func (s Snapshots) Show(ctx context.Context, id string, see func(string) error) (err error) {
	shown := id + "shown"
	mounts, err := s.Prepare(ctx, shown, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Snapshotter.Remove(ctx, shown)) }()
	dir, err := snapclient.Mount(mounts)
	if err != nil {
		return err
	}
	return errors.Join(see(dir), snapclient.Unmount(dir))
}

// Remove implements Driver.
func (s Snapshots) Remove(ctx context.Context, id string) error { return s.Snapshotter.Remove(ctx, id) }
