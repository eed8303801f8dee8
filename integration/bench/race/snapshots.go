package race

import (
	"context"
	"errors"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
)

// snapshotField are the snapshotters, all with sync=standard.
var snapshotField = []string{result.Snapshotter, result.SnapshotterInProcess, result.ContainerdOverlayfs, result.ContainerdZFS}

// snapshotGroup measures the life of a container's snapshot without its content.
func snapshotGroup(r *runner) group {
	const id = "snapshot.cycle"
	return group{
		name:   "snapshot cycle",
		budget: 45 * time.Second,
		rows: []result.Row{makeTimeRow("snapshots", id, "Prepare, Mounts, Remove; the mean of 5 on one image of 20 files. Ours is on disk when Prepare and Remove have answered, the others sync their records only. Warm.",
			"prepare, mounts, remove of a snapshot")},
		entries: entriesFor(snapshotField, 10, func(l *turn) error {
			image, err := l.snapshotImage(r)
			if err != nil {
				return err
			}
			if err := l.awaitIdle(); err != nil {
				return err
			}
			begin := time.Now()
			for range cyclesPerSample {
				if err := l.snapshotCycle(image); err != nil {
					return err
				}
			}
			l.addSample(id, milliseconds(time.Since(begin))/cyclesPerSample)
			return nil
		}),
	}
}

func (l *turn) snapshotCycle(image string) error {
	ctx, key := context.Background(), l.NewID()
	if _, err := l.Snapshots.Prepare(ctx, key, image); err != nil {
		return err
	}
	_, err := l.Snapshots.Mounts(ctx, key)
	return errors.Join(err, l.Snapshots.Remove(ctx, key))
}

// snapshotImage returns a small image, and unpacks it when there is none.
func (l *turn) snapshotImage(r *runner) (string, error) {
	if l.HasImage(layers.Small) {
		return l.Image(layers.Small)
	}
	tar, size, err := r.tars.openFile(layers.Small)
	if err != nil {
		return "", err
	}
	defer tar.Close()
	id := l.NewID()
	if err := snapclient.Unpack(context.Background(), l.Snapshots, id, "", tar, size); err != nil {
		return "", err
	}
	l.KeepImage(layers.Small, id)
	return id, nil
}

// unpackRace measures one layer's tar.
type unpackRace struct {
	shape  layers.Shape
	size   string // for titles
	rounds int
	budget time.Duration
}

var (
	smallUnpack = unpackRace{layers.Small, smallTar.size, 5, 40 * time.Second}
	baseUnpack  = unpackRace{layers.Base, baseTar.size, 1, 100 * time.Second}
)

func unpackGroup(r *runner, u unpackRace) group {
	name := u.shape.Name
	return group{
		name:   "unpack " + name,
		budget: u.budget,
		rows: []result.Row{
			makeTimeRow("snapshots", "unpack."+name, "Prepare, containerd's own unpacking into the mounts, Commit. Ours is on disk then, the others sync their records only. The tar is in memory.", "unpack a %s", u.size),
			makeTimeRow("snapshots", "unpacked."+name, "The same until all of it is on disk for everybody.", "unpack a %s, to the disk", u.size),
			makeTimeRow("snapshots", "usage."+name, "Usage of the snapshot before its Commit, the mean of 3 calls. Warm.", "usage of a %s, active", u.size),
		},
		entries: entriesFor(snapshotField, u.rounds, func(l *turn) error { return l.measureUnpack(r, u) }),
	}
}

// measureUnpack makes containerd's calls for a layer. It measures Usage in between,
// which does not count as unpacking.
func (l *turn) measureUnpack(r *runner, u unpackRace) error {
	tar, size, err := r.tars.openFile(u.shape)
	if err != nil {
		return err
	}
	defer tar.Close()
	if err := l.awaitIdle(); err != nil {
		return err
	}
	ctx, id := context.Background(), l.NewID()
	key := snapclient.ExtractKey(id)
	begin := time.Now()
	mounts, err := l.Snapshots.Prepare(ctx, key, "")
	if err != nil {
		return err
	}
	if err := snapclient.Apply(ctx, mounts, tar, size); err != nil {
		return err
	}
	took := time.Since(begin)
	if err := l.usages("usage."+u.shape.Name, key); err != nil {
		return err
	}
	begin = time.Now()
	if err := l.Snapshots.Commit(ctx, id, key); err != nil {
		return err
	}
	l.addSample("unpack."+u.shape.Name, milliseconds(took+time.Since(begin)))
	if err := l.syncPool(); err != nil {
		return err
	}
	l.addSample("unpacked."+u.shape.Name, milliseconds(took+time.Since(begin)))
	return l.Snapshots.Remove(ctx, id)
}

func (l *turn) usages(row, key string) error {
	const calls = 3
	begin := time.Now()
	for range calls {
		if _, err := l.Snapshots.Usage(context.Background(), key); err != nil {
			return err
		}
	}
	l.addSample(row, milliseconds(time.Since(begin))/calls)
	return nil
}
