package overlayzfs

import (
	"context"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// intentLog says what the dataset's intent log is good for.
type intentLog struct {
	// used says that its replay may restore names after a power cut. With sync=disabled it
	// does not.
	used bool
	// trusted says that everything committed to it is on disk and will be replayed.
	trusted bool
}

// readIntentLog asks ZFS once for each call of a caller, because the administrator may
// change the answer at any time.
func (d *Driver) readIntentLog() intentLog {
	if d.zfs == nil {
		return intentLog{used: true, trusted: true} // no better barrier is possible
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return intentLog{used: true} // assume the worst
	}
	used := stats.SyncMode() != zfs.SyncDisabled
	return intentLog{used, used && !d.copyUp.breaksLog && !isParamSet("zil_replay_disable") && !isParamSet("zil_nocacheflush")}
}

// isParamSet reports whether a parameter of the zfs module is not 0. A parameter that the
// module does not have is not set.
func isParamSet(param string) bool {
	value, err := zfs.ModuleParam(param)
	return err == nil && value != "0"
}

// isContentLogged reports whether the intent log contains all parts of a layer, except
// times that were never set.
func (d *Driver) isContentLogged() bool { return d.hasXattrLog && isParamSet("zfs_zil_saxattr") }

// poolLogsXattrs reports whether the intent log may contain extended attributes, opaque
// directories among them. That takes a pool feature of OpenZFS 2.2. An older pool has it
// after `zpool upgrade`, and an enabled feature stays enabled.
func poolLogsXattrs(h *zfs.Handle, pool string) bool {
	if h == nil {
		return false
	}
	has, err := h.PoolFeature(pool, zfs.FeatureZILXattr)
	return err == nil && has
}

// commitNames makes all changes of names durable, and what files holds: by the intent log
// where that can be trusted, which is faster, else by the transaction group.
//
// The log has each dataset's names in one list, and what was written to a file or set on it
// in a list of that file's. An fsync commits the first list and the file's own. So it waits
// for nothing that containers write, while syncfs commits all lists.
func (d *Driver) commitNames(ctx context.Context, log intentLog, files syncSet) error {
	if !log.trusted {
		return d.waitTxg(ctx)
	}
	// On a suspended pool fsync does not return before the pool is resumed.
	if err := checkPool(d.dataset); err != nil {
		return err
	}
	return d.observeBarrier(IntentLogBarrier, func() error {
		if len(files.fds) == 0 {
			return fsat.SyncFile(int(d.lock.Fd()))
		}
		return files.sync()
	})
}

// commitLog hands data in mapped memory to ZFS and commits all of the intent log, for which
// it writes what every container of the dataset wrote. With sync=disabled it does nothing.
func (d *Driver) commitLog() error {
	err := d.observeBarrier(IntentLogBarrier, func() error { return fsat.SyncFileSystem(int(d.lock.Fd())) })
	if err != nil {
		return err
	}
	// Before Linux 5.17 syncfs reports success although the pool is suspended.
	return checkPool(d.dataset)
}
