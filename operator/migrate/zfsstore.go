package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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

// fillingProperty is on a dataset that does not have all its content yet.
const fillingProperty = "overlayzfs:filling"

// busyTimeout is how long a dataset that is busy is waited for: a mount that ended may
// linger.
const busyTimeout = 5 * time.Second

// layerName is what moby's zfs driver calls datasets of layers. Others beside them
// are somebody else's.
var layerName = regexp.MustCompile(`^([0-9a-f]{64}(-init)?|[a-z0-9]{25})$`)

// zfsStore is a Store in the layout of moby's zfs driver, for the way back: each
// layer a dataset, cloned from the one below and then changed.
type zfsStore struct {
	zfs     *zfs.Handle
	dataset string
}

// openZFSStore opens the datasets. Of a job that may remove what it finds it removes
// what a run that was killed left half made.
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

// removeHalfFilled destroys datasets that do not have all their content, and the snapshots
// that were to be cloned: both keep the layer below from being destroyed.
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

// destroySnapshots destroys the snapshots that layers were cloned from, those with a
// clone when that goes.
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
	if err := s.Remove(ctx, id); err != nil { // what a run before had not filled
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
	// The snapshot goes with the clone, or at once when there is none.
	return errors.Join(s.zfs.Clone(snap, s.datasetName(id), props), s.zfs.DestroySnapshots([]string{snap}, true))
}

// setQuota gives a container's dataset its limit, as the driver does.
func setQuota(props zfs.Properties, options map[string]string) error {
	for key, value := range options {
		if key != "size" {
			return fault.New(fault.Unsupported, "the driver zfs does not know the storage option %s", key)
		}
		bytes, err := quota.ParseBytes(key, value)
		if err != nil {
			return err
		}
		props["quota"] = zfs.Uint(bytes)
	}
	return nil
}

// ApplyDiff is of no use here: a clone is changed by Fill.
func (s zfsStore) ApplyDiff(context.Context, string, string, io.Reader) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Fill changes the clone. It counts when all of that is done.
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

// Remove destroys a layer's dataset; that it is gone is no error.
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

// Layers lists the layers that have all their content.
func (s zfsStore) Layers(context.Context) ([]string, error) {
	_, whole, err := s.listLayers()
	return whole, err
}

// listLayers lists the layers that have not, and that have, all their content. The youngest
// are first: nothing stands on them, and a dataset that has clones is waited for before
// it is known as busy.
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

// WaitReaper waits until everything is on disk.
func (s zfsStore) WaitReaper(ctx context.Context) error {
	return s.zfs.SyncPool(ctx, zfs.PoolOf(s.dataset))
}
