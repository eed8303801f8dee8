package zfs

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/retry"
)

// Destroy destroys a file system or volume, or one snapshot. It tries once, and returns
// ErrBusy for a file system with snapshots or children, one that is mounted in any mount
// namespace, and one with an open file. (ZFS_IOC_DESTROY, OpenZFS 2.1 to 2.4.)
func (h *Handle) Destroy(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	c := newCommand()
	c.setName(name)
	_, errno := h.exchange(iocDestroy, c, nil, nil)
	err := h.fail("destroy", name, errno)
	if e := asError(err); e != nil && e.Errno == unix.EEXIST {
		e.Kind = ErrBusy
		e.reason = "it has child datasets"
	}
	return err
}

// busyPauses are the pauses between two tries to destroy a busy dataset.
var busyPauses = retry.Pauses{First: 5 * time.Millisecond, Most: 500 * time.Millisecond}

// DestroyRetry is Destroy that tries again while the dataset is busy, with growing pauses,
// until ctx ends. A mount can linger in another mount namespace, and a lazily unmounted file
// system lives until its last open file is closed. When ctx ends, the error contains both
// the last ErrBusy and the context's error. DestroyRetry does not wait for a dataset with
// children or snapshots, if the module tells these apart.
func (h *Handle) DestroyRetry(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := busyPauses.While(ctx, isTransient, func() error { return h.Destroy(name) })
	if isTransient(err) {
		return errors.Join(err, ctx.Err())
	}
	return err
}

// isTransient reports whether a refusal to destroy can end by itself.
func isTransient(err error) bool {
	e := asError(err)
	return e != nil && e.Kind == ErrBusy && e.reason == ""
}
