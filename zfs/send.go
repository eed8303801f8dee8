package zfs

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// sendFlags make a stream of blocks as they are on disk: large and compressed. Embedded
// blocks (embedok) are sent as ordinary ones, because a stream with them cannot be received
// below an encrypted dataset.
var sendFlags = []string{"largeblockok", "compressok"}

// Sending are options of SendWith.
type Sending struct {
	From string // the full name of an earlier snapshot of the same dataset, or ""
	// Raw sends the blocks of an encrypted dataset as they are, encrypted.
	Raw bool
	// Resume, if not nil, is where an earlier stream of the same snapshots was cut.
	Resume *ResumeToken
}

// Send writes a snapshot to w as a stream for Receive and `zfs receive`. With from, the full
// name of an earlier snapshot of the same dataset, the stream has the changes since. Blocks
// are sent as they are on disk; those of an encrypted dataset are decrypted. Send stops when
// ctx ends or w fails. (ZFS_IOC_SEND_NEW, OpenZFS 2.1 to 2.4.)
func (h *Handle) Send(ctx context.Context, snap, from string, w io.Writer) error {
	return h.SendWith(ctx, snap, Sending{From: from}, w)
}

// SendWith is Send with options.
func (h *Handle) SendWith(ctx context.Context, snap string, o Sending, w io.Writer) error {
	const op = "send"
	args, err := sendArgs(op, snap, "fromsnap", o)
	if err != nil {
		return err
	}
	p, err := newPipe(false)
	if err != nil {
		return err
	}
	args = append(args, nvlist.Pair{Name: "fd", Value: int32(p.theirs)})
	done := p.serve(func() error { return explainSend(h.change(op, iocSendNew, snap, args), o.From) })
	stop := context.AfterFunc(ctx, func() { p.ours.Close() })
	defer stop()
	_, copyErr := io.Copy(w, p.ours)
	p.ours.Close() // the module sees it if w failed
	err = <-done
	switch {
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), ignoreBrokenPipe(err))
	case copyErr != nil:
		return errors.Join(copyErr, ignoreBrokenPipe(err))
	}
	return err
}

// ignoreBrokenPipe drops the error that follows from closing our end of the pipe.
func ignoreBrokenPipe(err error) error {
	if errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}

// SendSize returns the approximate length of the stream of Send, in bytes.
// (ZFS_IOC_SEND_SPACE, OpenZFS 2.1 to 2.4.)
func (h *Handle) SendSize(snap, from string) (uint64, error) {
	return h.SendSizeWith(snap, Sending{From: from})
}

// SendSizeWith is SendSize with options.
func (h *Handle) SendSizeWith(snap string, o Sending) (uint64, error) {
	const op = "estimate the stream of"
	args, err := sendArgs(op, snap, "from", o)
	if err != nil {
		return 0, err
	}
	src, err := nvlist.Encode(args)
	if err != nil {
		return 0, invalid(op, snap, "%v", err)
	}
	c := newCommand()
	c.setName(snap)
	answer, errno := h.alter(iocSendSpace, c, src)
	if errno != 0 {
		return 0, explainSend(h.fail(op, snap, errno), o.From)
	}
	size, _ := answer.Uint64("space")
	return size, nil
}

func sendArgs(op, snap, fromKey string, o Sending) (nvlist.List, error) {
	if err := CheckSnapshotName(snap); err != nil {
		return nil, err
	}
	var args nvlist.List
	if o.From != "" {
		if err := CheckSnapshotName(o.From); err != nil {
			return nil, err
		}
		if PoolOf(o.From) != PoolOf(snap) {
			return nil, invalid(op, snap, "%s is of another pool", o.From)
		}
		args = append(args, nvlist.Pair{Name: fromKey, Value: o.From})
	}
	for _, flag := range sendFlags {
		args = append(args, nvlist.Pair{Name: flag, Value: nvlist.Boolean{}})
	}
	if o.Raw {
		args = append(args, nvlist.Pair{Name: "rawok", Value: nvlist.Boolean{}})
	}
	if o.Resume != nil {
		args = append(args, nvlist.Pair{Name: "resume_object", Value: o.Resume.Object}, nvlist.Pair{Name: "resume_offset", Value: o.Resume.Offset})
	}
	return args, nil
}

// explainSend explains the errnos of a send.
func explainSend(err error, from string) error {
	e := asError(err)
	if e != nil && e.Errno == unix.EXDEV {
		e.Kind, e.reason = ErrInvalid, from+" is no earlier snapshot of the same dataset"
	}
	return err
}
