package guest

import (
	"bytes"
	"context"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// mountsOf returns the mounts of a layer: a committed one's by a view. That
// waits for the disk twice, and what is committed stays as it is: so it is asked
// for once.
func (d *snapshotDoor) mountsOf(ctx context.Context, id string) ([]mount.Mount, error) {
	d.mu.Lock()
	mounts, known := d.views[id]
	d.mu.Unlock()
	if known {
		return mounts, nil
	}
	info, err := d.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if info.Kind != snapshots.KindCommitted {
		return d.Mounts(ctx, info.Name)
	}
	view := "look-" + id
	if mounts, err = d.View(ctx, view, id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.views[id] = mounts
	d.mu.Unlock()
	return mounts, d.Client.Remove(ctx, view)
}

func (d *snapshotDoor) Get(ctx context.Context, id string) (string, error) {
	mounts, err := d.mountsOf(ctx, id)
	if err != nil {
		return "", err
	}
	dir, err := snapclient.Mount(mounts)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places[id] = dir
	return dir, nil
}

func (d *snapshotDoor) Put(_ context.Context, id string) error {
	d.mu.Lock()
	dir := d.places[id]
	delete(d.places, id)
	d.mu.Unlock()
	return snapclient.Unmount(dir)
}

// content is the directory that a layer has for itself, whatever becomes of it.
func (d *snapshotDoor) content(ctx context.Context, id string) (string, error) {
	d.mu.Lock()
	dir, known := d.dirs[id]
	d.mu.Unlock()
	if known {
		return dir, nil
	}
	mounts, err := d.mountsOf(ctx, id)
	if err != nil {
		return "", err
	}
	dirs, err := snapclient.Contents(mounts)
	if err != nil {
		return "", err
	}
	return dirs[0], d.learn(ctx, id, dirs)
}

// learn notes the directories of a layer and of those below it. A view has
// none.
func (d *snapshotDoor) learn(ctx context.Context, id string, dirs []string) error {
	for len(dirs) > 0 && id != "" {
		info, err := d.find(ctx, id)
		if err != nil {
			return err
		}
		if info.Kind != snapshots.KindView {
			d.mu.Lock()
			d.dirs[id] = dirs[0]
			d.mu.Unlock()
			dirs = dirs[1:]
		}
		id = info.Parent
	}
	return nil
}

// lookAhead asks for the mounts of layers that nothing stands on, which say where
// all those below are. What is wrong with one shows when it is looked at.
func (d *snapshotDoor) lookAhead(ctx context.Context, plan []wire.Layer) {
	below := make(map[string]bool)
	for _, y := range plan {
		below[y.Parent] = true
	}
	for _, y := range plan {
		if !below[y.ID] {
			_, _ = d.content(ctx, y.ID)
		}
	}
}

// Diff reads what lies in the snapshot's own directory.
func (d *snapshotDoor) Diff(ctx context.Context, id, _ string) ([]byte, error) {
	path, err := d.content(ctx, id)
	if err != nil {
		return nil, err
	}
	return packDir(ctx, path)
}

// packDir returns the content of a snapshot's directory as a layer's tar.
func packDir(ctx context.Context, path string) ([]byte, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var tar bytes.Buffer
	err = layertar.Pack(ctx, dir, &tar, layertar.Options{})
	return tar.Bytes(), err
}
