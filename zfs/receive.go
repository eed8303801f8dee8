package zfs

import (
	"context"
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Receiving are options of Receive.
type Receiving struct {
	// Properties are set on the dataset, as if by SetProperty.
	Properties Properties
	// Received are set as properties that came with the stream. Local ones, set before or later,
	// hide them.
	Received Properties
	// Force discards changes and snapshots that are newer than the stream's first snapshot.
	Force bool
	// Resumable keeps what was received of a stream that ends early. ResumeToken of the dataset
	// then says where the next one begins.
	Resumable bool
}

// errChecksum is ECKSUM of include/os/linux/spl/sys/errno.h.
const errChecksum = unix.EBADE

// Receive creates the snapshot in a stream of Send or `zfs send`. A full stream creates the
// dataset, too. b is the stream's first record, and r has the rest. Nothing stays when
// Receive or r fails, or when ctx ends before the stream's last byte is read, except with
// Resumable.
// (ZFS_IOC_RECV_NEW, OpenZFS 2.1 to 2.4.)
func (h *Handle) Receive(ctx context.Context, snap string, b Begin, o Receiving, r io.Reader) error {
	const op = "receive"
	args, err := receiveArgs(op, snap, b, o)
	if err != nil {
		return err
	}
	p, err := newPipe(true)
	if err != nil {
		return err
	}
	dataset, _, _ := strings.Cut(snap, "@")
	args = append(args, nvlist.Pair{Name: "input_fd", Value: int32(p.theirs)})
	done := p.serve(func() error { return explainReceive(h.change(op, iocRecvNew, dataset, args)) })
	stop := context.AfterFunc(ctx, func() { p.ours.Close() })
	defer stop()
	_, copyErr := io.Copy(p.ours, r)
	p.ours.Close() // the end of the stream
	err = <-done
	switch {
	case err == nil: // the module has all it wants
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case copyErr != nil && !errors.Is(copyErr, unix.EPIPE):
		return errors.Join(copyErr, err)
	}
	return err
}

func receiveArgs(op, snap string, b Begin, o Receiving) (nvlist.List, error) {
	if err := CheckSnapshotName(snap); err != nil {
		return nil, err
	}
	if len(b.raw) != sizeRecord {
		return nil, invalid(op, snap, "the stream's first record was not read")
	}
	props, err := o.Properties.pack(op, snap)
	if err != nil {
		return nil, err
	}
	args := nvlist.List{
		{Name: "snapname", Value: snap},
		{Name: "begin_record", Value: nvlist.Other{Type: byteArray, Count: sizeRecord, Data: b.raw}},
	}
	if len(props) > 0 {
		args = append(args, nvlist.Pair{Name: "localprops", Value: props})
	}
	received, err := o.Received.pack(op, snap)
	if err != nil {
		return nil, err
	}
	if len(received) > 0 {
		args = append(args, nvlist.Pair{Name: "props", Value: received})
	}
	if o.Resumable {
		args = append(args, nvlist.Pair{Name: "resumable", Value: nvlist.Boolean{}})
	}
	if o.Force {
		args = append(args, nvlist.Pair{Name: "force", Value: nvlist.Boolean{}})
	}
	return args, nil
}

// explainReceive explains the errnos of a receive.
func explainReceive(err error) error {
	e := asError(err)
	if e == nil {
		return err
	}
	switch e.Errno {
	case unix.ENODEV:
		e.Kind, e.reason = ErrNotExist, "it does not have the snapshot that the stream begins with"
	case unix.ETXTBSY:
		e.Kind, e.reason = ErrBusy, "it was changed since the snapshot that the stream begins with"
	case unix.EOPNOTSUPP:
		e.Kind, e.reason = ErrUnsupported, "the stream needs a feature that the pool does not have enabled"
	case errStreamUnknown:
		e.Kind = ErrUnsupported
	case errChecksum:
		e.Kind, e.reason = ErrInvalid, "the stream is damaged: a checksum is wrong"
	case errTruncated:
		e.Kind = ErrInvalid
	case unix.EINVAL:
		e.reason = "the stream is damaged or ends too early"
	}
	return err
}
