package zfs

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Destroy destroys a file system or volume, or one snapshot. It tries once: a
// file system that is mounted in any mount name space, or that a process
// still has a file open in, is ErrBusy, as is one with snapshots or children.
// (ZFS_IOC_DESTROY, OpenZFS 2.1 to 2.4.)
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

// Bounds of the pause between two tries to destroy a busy dataset.
const (
	retryFirst = 5 * time.Millisecond
	retryMost  = 500 * time.Millisecond
)

// DestroyRetry destroys as Destroy does, and while the dataset is busy tries
// again, with growing pauses, until ctx ends. A mount can linger in another
// mount name space, and a lazily unmounted file system lives on until its
// last open file is closed. The last ErrBusy is then part of the error, as is
// the context's. A dataset with children or snapshots is not waited for where
// the module tells them apart.
func (h *Handle) DestroyRetry(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := h.Destroy(name)
		if !passing(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
	}
}

// passing reports whether a refusal to destroy can end by itself.
func passing(err error) bool {
	e := asError(err)
	return e != nil && e.Kind == ErrBusy && e.reason == ""
}
