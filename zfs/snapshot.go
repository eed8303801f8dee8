package zfs

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Snapshot makes snapshots, each named pool/name@snapshot, of any number of
// datasets of one pool, at the same moment: all are made or none. userProps
// are user properties (with a colon in their names) for each of them; nil is
// none. When a name exists already the error is ErrExist and its Each says
// which. A dataset may be named once only. (ZFS_IOC_SNAPSHOT, OpenZFS 2.1 to
// 2.4.)
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
	return named(h.act(op, iocSnapshot, pool, args), snaps)
}

// DestroySnapshots destroys snapshots of one pool: all or none. Those that do
// not exist are passed over. A snapshot with a hold or a clone is ErrBusy
// (EBUSY or EEXIST in the error's Each), unless deferred is set: then it is
// destroyed when the last of those is gone. (ZFS_IOC_DESTROY_SNAPS, OpenZFS
// 2.1 to 2.4.)
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
	err = named(h.act(op, iocDestroySnaps, pool, args), snaps)
	if e := asError(err); e != nil && e.Errno == unix.EEXIST {
		e.Kind = ErrBusy // clones
	}
	return err
}

// snapshotSet checks names and makes the kernel's set of them. Of no names
// the pool is empty.
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

// named puts the snapshot's name in place of the pool's where there is one
// name only.
func named(err error, names []string) error {
	if e := asError(err); e != nil && len(names) == 1 {
		e.Name = names[0]
	}
	return err
}

// rollbackTries is how often a rollback is tried whose snapshot was made in
// the transaction group that is open.
const rollbackTries = 5

// Rollback puts a dataset back to its latest snapshot, given by its full
// name. With newer snapshots or bookmarks it is ErrExist: destroy those
// first. A mounted file system is rolled back in place, but overlays on it
// answer EIO from then on: unmount them before. ctx ends only the wait for a
// snapshot that was made in the same moment. (ZFS_IOC_ROLLBACK, OpenZFS
// 2.1 to 2.4.)
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
		err := explainRollback(h.act(op, iocRollback, dataset, args), snapshot)
		if !errors.Is(err, unix.EAGAIN) || suspended(dataset) {
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

// explainRollback gives the errnos of a rollback their meaning.
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
