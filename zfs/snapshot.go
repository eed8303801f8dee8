package zfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Snapshot creates snapshots, each named pool/name@snapshot, of datasets of one pool at the
// same moment: all or none. userProps are user properties for each snapshot, or nil. It
// returns ErrExist when a name exists; the error's Each has the name. Each dataset may be
// named once. (ZFS_IOC_SNAPSHOT, OpenZFS 2.1 to 2.4.)
func (h *Handle) Snapshot(snaps []string, userProps map[string]string) error {
	const op = "snapshot"
	list, pool, err := snapshotSet(op, snaps)
	if err != nil || pool == "" {
		return err
	}
	args := nvlist.List{{Name: "snaps", Value: list}}
	props, err := packUserProperties(op, snaps[0], userProps)
	if err != nil {
		return err
	}
	if len(props) > 0 {
		args = append(args, nvlist.Pair{Name: "props", Value: props})
	}
	return setErrorName(h.change(op, iocSnapshot, pool, args), snaps)
}

// DestroySnapshots destroys snapshots of one pool: all or none. It skips missing ones. It
// returns ErrBusy for a snapshot with a hold or a clone (EBUSY or EEXIST in the error's
// Each). With deferred, such a snapshot is destroyed after its last hold and clone instead.
// (ZFS_IOC_DESTROY_SNAPS, OpenZFS 2.1 to 2.4.)
func (h *Handle) DestroySnapshots(snaps []string, deferred bool) error {
	const op = "destroy snapshots"
	list, pool, err := snapshotSet(op, snaps)
	if err != nil || pool == "" {
		return err
	}
	args := nvlist.List{{Name: "snaps", Value: list}}
	if deferred {
		args = append(args, nvlist.Pair{Name: "defer", Value: nvlist.Boolean{}})
	}
	err = setErrorName(h.change(op, iocDestroySnaps, pool, args), snaps)
	if e := asError(err); e != nil && e.Errno == unix.EEXIST {
		e.Kind = ErrBusy // clones
	}
	return err
}

// snapshotSet checks the names and returns them as the kernel's set, and their pool. The
// pool is "" for no names.
func snapshotSet(op string, snaps []string) (list nvlist.List, pool string, err error) {
	seen := make(map[string]bool, len(snaps))
	for _, snap := range snaps {
		if err := CheckSnapshotName(snap); err != nil {
			return nil, "", err
		}
		if pool != "" && pool != PoolOf(snap) {
			return nil, "", invalid(op, snap, "one request takes snapshots of one pool, and %s is named too", pool)
		}
		if seen[snap] {
			return nil, "", invalid(op, snap, "it is named twice")
		}
		seen[snap] = true
		pool = PoolOf(snap)
		list = append(list, nvlist.Pair{Name: snap, Value: nvlist.Boolean{}})
	}
	return list, pool, nil
}

func packUserProperties(op, name string, userProps map[string]string) (nvlist.List, error) {
	props := make(Properties, len(userProps))
	for property, value := range userProps {
		if !isUserProperty(property) {
			return nil, invalid(op, name, "a snapshot takes user properties only, and %s has no colon in its name", property)
		}
		props[property] = String(value)
	}
	return props.pack(op, name)
}

// setErrorName puts the snapshot's name into the error when there is only one name. The
// request itself names the pool.
func setErrorName(err error, names []string) error {
	if e := asError(err); e != nil && len(names) == 1 {
		e.Name = names[0]
	}
	return err
}

// rollbackTries bounds the tries of a rollback to a snapshot that was created in the open
// transaction group.
const rollbackTries = 5

// Rollback rolls a dataset back to its latest snapshot, given by its full name. It returns
// ErrExist if there are newer snapshots or bookmarks: destroy those first. A mounted file
// system is rolled back in place. Overlays on it return EIO afterwards: unmount them before.
// ctx ends only the wait for a snapshot that was created just now. (ZFS_IOC_ROLLBACK,
// OpenZFS 2.1 to 2.4.)
func (h *Handle) Rollback(ctx context.Context, dataset, snapshot string) error {
	const op = "rollback"
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	if err := CheckSnapshotName(snapshot); err != nil {
		return err
	}
	args := nvlist.List{{Name: "target", Value: snapshot}}
	for try := 1; ; try++ {
		err := explainRollback(h.change(op, iocRollback, dataset, args), snapshot)
		if !errors.Is(err, unix.EAGAIN) || isSuspended(dataset) {
			return err
		}
		if try == rollbackTries {
			e := asError(err)
			e.Kind, e.reason, e.remedy = ErrBusy, "its snapshots are being made too fast", ""
			return e
		}
		if err := h.SyncPool(ctx, PoolOf(dataset)); err != nil {
			return err
		}
	}
}

// explainRollback explains the errnos of a rollback.
func explainRollback(err error, snapshot string) error {
	e := asError(err)
	if e == nil {
		return err
	}
	switch e.Errno {
	case unix.ESRCH:
		e.Kind = ErrNotExist
		e.reason = "it has no snapshot " + snapshot
	case unix.EEXIST:
		e.reason = snapshot + " is not the latest snapshot or bookmark"
		e.remedy = "destroy the newer ones first"
	}
	return e
}
