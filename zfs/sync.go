package zfs

import (
	"context"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// SyncPool makes everything written to a pool so far durable: it waits until the open
// transaction group is on disk, whatever the sync property is. It returns ErrSuspended for a
// suspended pool and ErrReadOnly for a read-only one. When ctx ends first, SyncPool returns
// its error, and the request goes on in a thread of its own, because the kernel cannot
// cancel it. On a pool that becomes suspended meanwhile, the request lasts until the pool is
// resumed. (ZFS_IOC_POOL_SYNC, OpenZFS 2.1 to 2.4.)
func (h *Handle) SyncPool(ctx context.Context, pool string) error {
	if err := checkPool(pool); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		args := nvlist.List{{Name: "force", Value: false}}
		done <- h.change("sync", iocPoolSync, pool, args)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
