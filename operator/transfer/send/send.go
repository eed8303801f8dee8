package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Last stands for the snapshot that was sent last.
const Last = "last"

// Sender sends one store. Progress starts showing how much of size bytes is sent. RunLocked
// runs a function while no other changing command runs.
type Sender struct {
	Source    *inventory.Source
	Progress  func(size int64) (step func(int64), done func())
	RunLocked func(func() error) error
}

// FindBase returns the snapshot that an incremental stream begins at: by its name,
// the last one sent, or none for an empty name.
func (s *Sender) FindBase(name string) (zfs.Dataset, error) {
	z, dataset := s.Source.ZFS, s.Source.Dataset
	switch name {
	case "":
		return zfs.Dataset{}, nil
	case Last:
		sent, err := transfer.FindSent(z, dataset)
		if err == nil && len(sent) == 0 {
			err = fault.New(fault.NotFound, "no snapshot of %s was sent yet: send everything first, without --from", dataset)
		}
		if err != nil {
			return zfs.Dataset{}, err
		}
		return sent[len(sent)-1], nil
	}
	_, bare, found := strings.Cut(name, "@")
	if !found {
		bare = name
	}
	return z.DatasetStats(dataset + "@" + bare)
}

// Estimate returns the header of the stream that Send would write now, with an upper
// bound of its size.
func (s *Sender) Estimate(base zfs.Dataset) (transfer.Header, error) {
	d, err := s.Source.ZFS.DatasetStats(s.Source.Dataset)
	if err != nil {
		return transfer.Header{}, err
	}
	h := s.describe(base)
	h.Bytes = d.Referenced()
	if base.Name != "" {
		h.Bytes = d.Written() // more than the stream has if there are snapshots between
	}
	return h, nil
}

// describe makes the part of the header that needs no snapshot.
func (s *Sender) describe(base zfs.Dataset) transfer.Header {
	_, baseName, _ := strings.Cut(base.Name, "@")
	records := s.Source.Records
	chains := map[string]bool{}
	for _, image := range records.Images {
		for _, chain := range image.Chains {
			chains[string(chain)] = true
		}
	}
	return transfer.Header{
		From: baseName, FromGUID: base.GUID, Images: len(records.Images), Layers: len(chains), Format: overlayzfs.FormatVersion, OpenZFS: s.Source.ZFS.ABI().Version,
	}
}

// Send takes a snapshot and writes its stream to the output that open returns. It
// destroys the snapshot again if the stream does not come to its end. It returns the
// stream's header and length.
func (s *Sender) Send(ctx context.Context, base zfs.Dataset, open func() (*Output, error)) (h transfer.Header, written int64, err error) {
	// A receiver that ends early must not kill this process before it has cleaned up.
	signal.Ignore(unix.SIGPIPE)
	snap, err := s.begin(ctx, base.Name)
	if err != nil {
		return h, 0, err
	}
	sent := false
	defer func() {
		for _, held := range []string{snap, base.Name} {
			if held != "" {
				err = errors.Join(err, s.Source.ZFS.Release(held, holdTag()))
			}
		}
		if err != nil && !sent {
			err = errors.Join(err, s.Source.ZFS.DestroySnapshots([]string{snap}, false))
		}
	}()
	if h, err = s.header(snap, base); err != nil {
		return h, 0, err
	}
	out, err := open()
	if err != nil {
		return h, 0, err
	}
	if err := s.write(ctx, snap, base.Name, h, out); err != nil {
		return h, 0, errors.Join(err, out.Discard())
	}
	if err = out.Sync(); err == nil {
		err = transfer.MarkSent(s.Source.ZFS, snap)
	}
	if err != nil {
		return h, 0, errors.Join(err, out.Discard())
	}
	sent = true
	return h, out.written, out.Name()
}

// holdTag is the tag of the holds of this process.
func holdTag() string { return fmt.Sprintf("overlayzfs-send-%d", os.Getpid()) }

// begin takes the snapshot, and holds it and the base until the process ends. Only that
// excludes other commands: writing the stream can take hours.
func (s *Sender) begin(ctx context.Context, base string) (snap string, err error) {
	err = s.RunLocked(func() error {
		if base != "" {
			if err := s.Source.ZFS.HoldUntilClosed(base, holdTag()); err != nil {
				return err
			}
		}
		if err := s.destroyAbandoned(base); err != nil {
			return err
		}
		if snap, err = s.takeSnapshot(ctx); err != nil {
			return err
		}
		err := s.Source.ZFS.HoldUntilClosed(snap, holdTag())
		if err != nil {
			err = errors.Join(err, s.Source.ZFS.DestroySnapshots([]string{snap}, false))
		}
		return err
	})
	if err != nil && base != "" {
		err = errors.Join(err, ignoreNotExist(s.Source.ZFS.Release(base, holdTag())))
	}
	return snap, err
}

func ignoreNotExist(err error) error {
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	return err
}

// destroyAbandoned destroys the snapshots of sends that were killed. The caller's
// lock makes sure that no other send is about to hold its own.
func (s *Sender) destroyAbandoned(base string) error {
	names, err := transfer.FindAbandoned(s.Source.ZFS, s.Source.Dataset)
	if err != nil {
		return err
	}
	if isSending, err := transfer.IsSending(s.Source.ZFS, base); isSending || err != nil {
		if err != nil {
			return err
		}
		return fault.New(fault.Invalid, "the stream of %s never came to its end, so no receiver has it: name another snapshot with --from", base)
	}
	return s.Source.ZFS.DestroySnapshots(names, false)
}

// header returns the header of a snapshot's stream.
func (s *Sender) header(snap string, base zfs.Dataset) (transfer.Header, error) {
	h := s.describe(base)
	d, err := s.Source.ZFS.DatasetStats(snap)
	if err != nil {
		return h, err
	}
	_, h.Name, _ = strings.Cut(snap, "@")
	h.GUID, h.Time = d.GUID, d.Created().UTC()
	h.Bytes, err = s.Source.ZFS.SendSize(snap, base.Name)
	return h, err
}

func (s *Sender) write(ctx context.Context, snap, base string, h transfer.Header, w io.Writer) error {
	step, done := s.Progress(int64(h.Bytes))
	defer done()
	stream, err := transfer.NewWriter(countingWriter{w, step}, h)
	if err != nil {
		return err
	}
	if err := s.Source.ZFS.Send(ctx, snap, base, stream); err != nil {
		return err
	}
	return stream.Close()
}

// countingWriter reports each write to a progress bar.
type countingWriter struct {
	w    io.Writer
	step func(int64)
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.step(int64(n))
	return n, err
}
