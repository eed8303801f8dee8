package zfs

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Hold protects a snapshot from being destroyed until the tag is released. It returns
// ErrExist when the snapshot has the tag. (ZFS_IOC_HOLD, OpenZFS 2.1 to 2.4.)
func (h *Handle) Hold(snap, tag string) error {
	const op = "hold"
	if err := checkHold(op, snap, tag); err != nil {
		return err
	}
	holds := nvlist.List{{Name: snap, Value: tag}}
	args := nvlist.List{{Name: "holds", Value: holds}}
	return setErrorName(h.change(op, iocHold, PoolOf(snap), args), []string{snap})
}

// HoldUntilClosed is Hold until the handle is closed, or the process ends in any way.
func (h *Handle) HoldUntilClosed(snap, tag string) error {
	const op = "hold"
	if err := checkHold(op, snap, tag); err != nil {
		return err
	}
	if h == nil || h.file == nil {
		return h.fail(op, snap, unix.EBADF)
	}
	raw, err := h.file.SyscallConn()
	if err != nil {
		return h.fail(op, snap, unix.EBADF)
	}
	holds := nvlist.List{{Name: snap, Value: tag}}
	// Control keeps the descriptor, which the module looks up, from being closed meanwhile.
	controlErr := raw.Control(func(fd uintptr) {
		args := nvlist.List{{Name: "holds", Value: holds}, {Name: "cleanup_fd", Value: int32(fd)}}
		err = setErrorName(h.change(op, iocHold, PoolOf(snap), args), []string{snap})
	})
	if controlErr != nil {
		return h.fail(op, snap, unix.EBADF)
	}
	return err
}

// Release removes a hold. It returns ErrNotExist for a missing snapshot or tag.
// (ZFS_IOC_RELEASE, OpenZFS 2.1 to 2.4.)
func (h *Handle) Release(snap, tag string) error {
	const op = "release"
	if err := checkHold(op, snap, tag); err != nil {
		return err
	}
	args := nvlist.List{{Name: snap, Value: nvlist.List{{Name: tag, Value: nvlist.Boolean{}}}}}
	err := setErrorName(h.change(op, iocRelease, PoolOf(snap), args), []string{snap})
	if e := asError(err); e != nil && e.Errno == unix.ESRCH {
		e.Kind = ErrNotExist
	}
	return err
}

// Holds returns the tags that hold a snapshot, with the times they were set.
// (ZFS_IOC_GET_HOLDS, OpenZFS 2.1 to 2.4.)
func (h *Handle) Holds(snap string) (map[string]time.Time, error) {
	if err := CheckSnapshotName(snap); err != nil {
		return nil, err
	}
	c := newCommand()
	c.setName(snap)
	list, errno := h.query(iocGetHolds, c)
	if errno != 0 {
		return nil, h.fail("list holds of", snap, errno)
	}
	holds := make(map[string]time.Time, len(list))
	for _, pair := range list {
		if seconds, ok := pair.Value.(uint64); ok {
			holds[pair.Name] = time.Unix(int64(seconds), 0)
		}
	}
	return holds, nil
}

func checkHold(op, snap, tag string) error {
	if err := CheckSnapshotName(snap); err != nil {
		return err
	}
	return checkTag(op, snap, tag)
}
