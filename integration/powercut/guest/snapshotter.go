package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
)

// snapshotDoor is the snapshotter behind its socket, asked as containerd asks.
// A layer of the list is a snapshot of its ID: the committed one, or a
// container's; and, until it is committed, the active one of key.
type snapshotDoor struct {
	*snapclient.Client
	process *pluginproc.Process
	home    string
	mu      sync.Mutex
	places  map[string]string        // where layers are mounted
	views   map[string][]mount.Mount // of committed layers
	dirs    map[string]string        // content's answers
}

// openSnapshotter starts the snapshotter's process on the dataset, as an init
// system does after a boot.
func openSnapshotter(home string) (*store, error) {
	if err := makeDir(home); err != nil {
		return nil, err
	}
	process, err := pluginproc.StartSnapshotter("--root", home, "--dataset", dataset, "--log-level", os.Getenv("OVERLAYZFS_LOG_LEVEL"))
	if err != nil {
		return nil, err
	}
	client, err := snapclient.Dial(process.Socket, engine.SnapshotterName)
	d := &snapshotDoor{
		Client: client, process: process, home: home,
		places: make(map[string]string), views: make(map[string][]mount.Mount), dirs: make(map[string]string),
	}
	return &store{door: d, home: home, dataset: dataset, xattrs: true, snapshots: d}, err
}

// stop ends the process. Its mount stays.
func (d *snapshotDoor) stop() error { return errors.Join(d.Close(), d.process.Stop()) }

// key is the active snapshot that becomes the layer of an ID by Commit.
func key(id string, kind wire.Kind) string {
	switch kind {
	case wire.Image:
		return snapclient.ExtractKey(id)
	case wire.Step:
		return stepPrefix + id
	}
	return id
}

const stepPrefix = "step-"

// idOfKey undoes key, and leaves other names as they are.
func idOfKey(name string) string {
	for _, prefix := range []string{snapclient.ExtractKey(""), stepPrefix} {
		if id, ok := strings.CutPrefix(name, prefix); ok {
			return id
		}
	}
	return name
}

// find finds the snapshot of a layer.
func (d *snapshotDoor) find(ctx context.Context, id string) (info snapshots.Info, err error) {
	for _, name := range []string{id, key(id, wire.Image), key(id, wire.Step)} {
		info, err = d.Client.Stat(ctx, name)
		if !errdefs.IsNotFound(err) {
			return info, err
		}
	}
	return info, err
}

func (d *snapshotDoor) Stat(ctx context.Context, id string) (exists, open bool, err error) {
	info, err := d.find(ctx, id)
	if errdefs.IsNotFound(err) {
		return false, false, nil
	}
	return err == nil, info.Kind == snapshots.KindActive, err
}

// sizeLabel limits an active snapshot.
const sizeLabel = "containerd.io/snapshot/overlayzfs.size"

func (d *snapshotDoor) Create(ctx context.Context, l wire.Layer, size int64) error {
	if l.Kind == wire.View {
		_, err := d.View(ctx, l.ID, l.Parent)
		return err
	}
	var opts []snapshots.Opt
	if size > 0 {
		opts = append(opts, snapshots.WithLabels(map[string]string{sizeLabel: fmt.Sprint(size)}))
	}
	_, err := d.Prepare(ctx, key(l.ID, l.Kind), l.Parent, opts...)
	return err
}

func (d *snapshotDoor) Remove(ctx context.Context, id string) error {
	info, err := d.find(ctx, id)
	if err == nil {
		err = d.Client.Remove(ctx, info.Name)
	}
	if errdefs.IsNotFound(err) {
		return nil // as containerd's garbage collection takes it
	}
	return err
}

func (d *snapshotDoor) ApplyDiff(ctx context.Context, id, _ string, diff []byte) error {
	active := key(id, wire.Image)
	mounts, err := d.Mounts(ctx, active)
	if err != nil {
		return err
	}
	if err := snapclient.ApplyBytes(ctx, mounts, diff); err != nil {
		return err
	}
	return d.Commit(ctx, id, active)
}

// commit makes a step a layer.
func (d *snapshotDoor) commit(ctx context.Context, id string) error {
	return d.Commit(ctx, id, key(id, wire.Step))
}

// clean is what containerd asks for after a garbage collection.
func (d *snapshotDoor) clean(ctx context.Context) error {
	return d.Snapshotter.(snapshots.Cleaner).Cleanup(ctx)
}
