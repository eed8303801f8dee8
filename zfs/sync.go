package zfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// SyncPool makes everything written to a pool so far durable, whatever the sync property is,
// and the space of what was deleted usable again. It waits until the open transaction group
// and the two after it are on disk. It returns ErrSuspended for a suspended pool and
// ErrReadOnly for a read-only one. When ctx ends first, SyncPool returns its error, and the
// request goes on in a thread of its own, because the kernel cannot cancel it. On a pool that
// becomes suspended meanwhile, the request lasts until the pool is resumed.
// (ZFS_IOC_POOL_SYNC, OpenZFS 2.1 to 2.4.)
func (h *Handle) SyncPool(ctx context.Context, pool string) error {
	if err := checkPool(pool); err != nil {
		return err
	}
	return detach(ctx, func() error {
		return h.change("sync", iocPoolSync, pool, nvlist.List{{Name: "force", Value: false}})
	})
}

// noPermissionSet is a set of delegated permissions that no dataset has, with a permission
// in it that no set has.
const noPermissionSet, noPermission = "s-$@overlayzfs-none", "@overlayzfs-none"

// WaitTxg makes everything written to the dataset's pool so far durable, whatever the sync
// property is: it waits until the open transaction group is on disk, and for no other.
// Beside programs that write, that is a third of SyncPool's wait. Errors, suspension and ctx
// are as with SyncPool. A pool without free space refuses the request (ErrNoSpace).
//
// No request is made for that purpose. WaitTxg takes a permission away that nobody has. The
// module does that in a sync task, which ends with its own transaction group, changes
// nothing and leaves no line in the pool's history. Callers check with HasWaitTxg that the
// loaded module still does so. (ZFS_IOC_SET_FSACL; dsl_deleg_unset_sync and
// dsl_sync_task_common, OpenZFS 2.1 to 2.4.)
func (h *Handle) WaitTxg(ctx context.Context, dataset string) error {
	if err := checkName(dataset); err != nil {
		return err
	}
	src, err := nvlist.Encode(nvlist.List{{Name: noPermissionSet, Value: nvlist.List{{Name: noPermission, Value: nvlist.Boolean{}}}}})
	if err != nil {
		return err
	}
	return detach(ctx, func() error {
		c := newCommand()
		c.setName(dataset)
		c.setUint64(offPermAction, 1)
		_, errno := h.exchange(iocSetFsACL, c, src, nil)
		return h.fail("wait for the transaction group of", dataset, errno)
	})
}

// detach runs a request that the kernel cannot cancel, and returns early when ctx ends.
func detach(ctx context.Context, request func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- request() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// HasWaitTxg calls WaitTxg and reports whether that wrote the transaction group that was
// open before. It is false where the module keeps no history of transaction groups.
func (h *Handle) HasWaitTxg(ctx context.Context, dataset string) (bool, error) {
	txg, err := openTxg(PoolOf(dataset))
	if err != nil || txg == 0 {
		return false, err
	}
	if err := h.WaitTxg(ctx, dataset); err != nil {
		return false, err
	}
	states, err := txgStates(PoolOf(dataset))
	return states[txg] == txgCommitted, err
}

// The states of a transaction group: it takes changes, or it is on disk.
const txgOpen, txgCommitted = "O", "C"

// openTxg returns the number of the open transaction group. It is 0 where that is unknown.
func openTxg(pool string) (open uint64, err error) {
	states, err := txgStates(pool)
	for txg, state := range states {
		if state == txgOpen {
			open = max(open, txg)
		}
	}
	return open, err
}

// txgStates returns the states of the last transaction groups by their numbers.
// (/proc/spl/kstat/zfs/POOL/txgs, OpenZFS 2.1 to 2.4.)
func txgStates(pool string) (map[uint64]string, error) {
	raw, err := os.ReadFile(filepath.Join(kstatDir, pool, "txgs"))
	if err != nil {
		return nil, fmt.Errorf("zfs read the transaction groups of %q: %w", pool, err)
	}
	states := map[uint64]string{}
	for line := range bytes.Lines(raw) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			continue
		}
		if txg, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
			states[txg] = fields[2]
		}
	}
	return states, nil
}
