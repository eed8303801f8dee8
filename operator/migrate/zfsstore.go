package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// fillingProperty marks a dataset that does not have all its content yet.
const fillingProperty = "overlayzfs:filling"

// busyTimeout is the longest wait for a busy dataset: an ended mount may linger.
const busyTimeout = 5 * time.Second

// layerName matches the names that moby's zfs driver gives to layers. Other datasets
// beside them belong to somebody else.
var layerName = regexp.MustCompile(`^([0-9a-f]{64}(-init)?|[a-z0-9]{25})$`)

// zfsStore is a Store in the layout of moby's zfs driver, for the way back. Each layer is
// a dataset, cloned from its parent and then changed.
type zfsStore struct {
	zfs     *zfs.Handle
	dataset string
}

// openZFSStore opens the store. It removes what a killed run left incomplete, if every
// layer found belongs to the job.
func (j *Job) openZFSStore(ctx context.Context) (Store, func() error, error) {
	z, err := zfs.Open()
	if err != nil {
		return nil, nil, err
	}
	s := zfsStore{z, j.ZFSDataset}
	if j.StoreWasEmpty {
		if err := s.removeHalfFilled(ctx); err != nil {
			return nil, nil, errors.Join(err, z.Close())
		}
	}
	return s, z.Close, nil
}

// removeHalfFilled destroys incomplete datasets and unused snapshots of parents. Both
// prevent the parent from being destroyed.
func (s zfsStore) removeHalfFilled(ctx context.Context) error {
	half, whole, err := s.listLayers()
	if err != nil {
		return err
	}
	for _, id := range half {
		if err := s.Remove(ctx, id); err != nil {
			return err
		}
	}
	for _, id := range whole {
		if err := s.destroySnapshots(id); err != nil {
			return err
		}
	}
	return nil
}

// destroySnapshots destroys the snapshots that layers were cloned from. One that has a
// clone is destroyed together with the clone.
func (s zfsStore) destroySnapshots(id string) error {
	var snaps []string
	for snap, err := range s.zfs.SnapshotNames(s.datasetName(id)) {
		if err != nil {
			return err
		}
		if _, clone, _ := strings.Cut(snap.Name, "@"); layerName.MatchString(clone) {
			snaps = append(snaps, snap.Name)
		}
	}
	return s.zfs.DestroySnapshots(snaps, true)
}

func (s zfsStore) datasetName(id string) string { return path.Join(s.dataset, id) }

// Create clones the parent.
func (s zfsStore) Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error {
	props := zfs.Properties{"mountpoint": zfs.String("legacy"), fillingProperty: zfs.String("y")}
	if err := setQuota(props, o.StorageOpt); err != nil {
		return err
	}
	if err := s.Remove(ctx, id); err != nil { // an incomplete one of an earlier run
		return err
	}
	if parent == "" {
		return s.zfs.CreateFilesystem(s.datasetName(id), props)
	}
	snap := s.datasetName(parent) + "@" + id
	if err := s.zfs.DestroySnapshots([]string{snap}, false); err != nil {
		return err
	}
	if err := s.zfs.Snapshot([]string{snap}, nil); err != nil {
		return err
	}
	// The snapshot is destroyed with the clone, or at once if cloning failed.
	return errors.Join(s.zfs.Clone(snap, s.datasetName(id), props), s.zfs.DestroySnapshots([]string{snap}, true))
}

// setQuota adds a container's limit to the properties of its dataset, as the driver does.
func setQuota(props zfs.Properties, options map[string]string) error {
	for key, value := range options {
		if key == "xino" {
			continue // a container of the zfs driver has no overlay, and one dataset
		}
		if key != "size" {
			return fault.New(fault.Unsupported, "the zfs driver has no storage option %s", key)
		}
		bytes, err := quota.ParseBytes(key, value)
		if err != nil {
			return err
		}
		props["quota"] = zfs.Uint(bytes)
	}
	return nil
}

// Fill changes the clone and marks it complete afterwards.
func (s zfsStore) Fill(_ context.Context, id string, write func(dir *os.File) error) error {
	root, err := zfs.OpenDataset(s.datasetName(id))
	if err != nil {
		return err
	}
	dir, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err == nil {
		err = errors.Join(write(dir), dir.Close())
	}
	if err := errors.Join(err, root.Close()); err != nil {
		return err
	}
	return s.zfs.Inherit(s.datasetName(id), fillingProperty)
}

// Remove destroys a layer's dataset. A missing one is no error.
func (s zfsStore) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	err := s.zfs.DestroyRetry(ctx, s.datasetName(id))
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		return nil
	case errors.Is(err, zfs.ErrBusy):
		return fault.New(fault.Busy, "%w", err)
	}
	return err
}

// Layers lists the complete layers.
func (s zfsStore) Layers(context.Context) ([]string, error) {
	_, whole, err := s.listLayers()
	return whole, err
}

// listLayers lists the incomplete and the complete layers, the youngest first. Those
// have no clones; destroying a dataset with clones first would wait for busyTimeout.
func (s zfsStore) listLayers() (half, whole []string, err error) {
	all, err := zfs.Collect(s.zfs.Children(s.dataset))
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b zfs.Dataset) int { return cmp.Compare(b.CreateTXG, a.CreateTXG) })
	for _, d := range all {
		id := path.Base(d.Name)
		switch {
		case !layerName.MatchString(id):
		case d.IsLocalOrReceived(fillingProperty):
			half = append(half, id)
		default:
			whole = append(whole, id)
		}
	}
	return half, whole, nil
}

// WaitReaper waits until all layers are on disk.
func (s zfsStore) WaitReaper(ctx context.Context) error {
	return s.zfs.SyncPool(ctx, zfs.PoolOf(s.dataset))
}
