package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// sendFlags are those of the send command.
type sendFlags struct {
	place
	output
	from   string
	file   string
	dryRun bool
}

// sentPrefix begins the names of snapshots that are taken to be sent.
const sentPrefix = "overlayzfs-sent-"

// lastSent stands for the newest snapshot that was sent.
const lastSent = "last"

// sendCommand writes the store as a stream.
func sendCommand(c console) *cobra.Command {
	var f sendFlags
	command := &cobra.Command{
		Use:   "send [flags]",
		Short: "Write all images, layers and Docker's records of them, as one stream",
		Long: "Write all images, layers and Docker's records of them, as one stream, to a file or a pipe. Another host\n" +
			"that receives it starts with the same images, without a registry. dockerd may run.\n\n" +
			"A snapshot is taken, and stays: with --from it is what the next stream goes on from, which then has only\n" +
			"what has changed. Containers, volumes and the build cache do not travel. The files of an encrypted dataset\n" +
			"are not encrypted in the stream.",
		Example: "  overlayzfs send | ssh other overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs send --from last | ssh other overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs send --output /mnt/images.ozfs",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.send(command.Context(), c) },
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	flags := command.Flags()
	flags.StringVar(&f.from, "from", "", "`SNAPSHOT` that the receiver has, or last for the one that was sent last: only what has changed since is sent")
	flags.StringVarP(&f.file, "output", "o", "-", "`FILE` to write, which must not exist; - is standard output")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be sent, and do nothing")
	return command
}

// shipment is what is sent.
type shipment struct {
	transfer.Header
	Dataset string `json:"dataset"`
	Written int64  `json:"written,omitempty"` // bytes
	DryRun  bool   `json:"dry_run,omitempty"`
}

func (f *sendFlags) send(ctx context.Context, c console) error {
	if err := errors.Join(f.checkOutput(c), f.requireFree()); err != nil {
		return err
	}
	return f.look(func(s *shelf) error {
		if s.host.Dataset == "" {
			return fault.New(fault.Unsupported, "the store lies in Docker's data-root, and has no dataset of its own to be sent: `zfs send` the data-root's")
		}
		from, err := f.resolve(s)
		if err != nil {
			return err
		}
		if f.dryRun {
			return f.foretell(c, s, from)
		}
		return c.changing("send", func() error { return f.ship(ctx, c, s, from) })
	})
}

// checkOutput refuses to write a stream where a person or a program reads text.
func (f *sendFlags) checkOutput(c console) error {
	if f.dryRun || f.file != "-" {
		return nil
	}
	if f.json {
		return usagef("--json and the stream cannot both go to standard output: say --output FILE")
	}
	if file, ok := c.out.(*os.File); ok && isTerminal(file) {
		return usagef("a stream is not for a terminal: pipe it to another command, or say --output FILE")
	}
	return nil
}

// resolve finds the snapshot that the stream is to go on from.
func (f *sendFlags) resolve(s *shelf) (zfs.Dataset, error) {
	switch f.from {
	case "":
		return zfs.Dataset{}, nil
	case lastSent:
		sent, err := transfer.FindSent(s.zfs, s.dataset)
		if err == nil && len(sent) == 0 {
			err = fault.New(fault.NotFound, "nothing was sent of %s yet: send everything first, without --from", s.dataset)
		}
		if err != nil {
			return zfs.Dataset{}, err
		}
		return sent[len(sent)-1], nil
	}
	_, name, found := strings.Cut(f.from, "@")
	if !found {
		name = f.from
	}
	return s.zfs.DatasetStats(s.dataset + "@" + name)
}

// foretell says what would be sent.
func (f *sendFlags) foretell(c console, s *shelf, from zfs.Dataset) error {
	d, err := s.zfs.DatasetStats(s.dataset)
	if err != nil {
		return err
	}
	h := headerOf(s, from)
	h.Bytes = d.Referenced()
	if from.Name != "" {
		h.Bytes = d.Written() // an upper bound where there are snapshots between
	}
	if f.json {
		return writeJSON(c.out, shipment{Header: h, Dataset: s.dataset, DryRun: true})
	}
	_, err = fmt.Fprintln(c.out, "Would send "+describeHeader(h)+", of "+s.dataset+".")
	return err
}

// headerOf is what can be said before there is a snapshot.
func headerOf(s *shelf, from zfs.Dataset) transfer.Header {
	_, fromName, _ := strings.Cut(from.Name, "@")
	chains := map[string]bool{}
	for _, image := range s.records.Images {
		for _, chain := range image.Chains {
			chains[string(chain)] = true
		}
	}
	return transfer.Header{
		From: fromName, FromGUID: from.GUID, Images: len(s.records.Images), Layers: len(chains), Format: overlayzfs.FormatVersion, OpenZFS: s.zfs.ABI().Version,
	}
}

// describeHeader is a stream in words.
func describeHeader(h transfer.Header) string {
	what := "everything"
	if !h.IsFull() {
		what = "what has changed since " + h.From
	}
	return fmt.Sprintf("%s and %s, %s: about %s", number(h.Images, "image"), number(h.Layers, "layer"), what, bytesText(h.Bytes))
}

// ship takes a snapshot and writes it. The snapshot goes if the stream does not
// come to its end.
func (f *sendFlags) ship(ctx context.Context, c console, s *shelf, from zfs.Dataset) (err error) {
	// A receiver that ends early shall not end this process before it has cleaned up.
	signal.Ignore(unix.SIGPIPE)
	if err := sweep(s, from.Name); err != nil {
		return err
	}
	snap, err := f.snapshot(ctx, s)
	if err != nil {
		return err
	}
	sent := false
	defer func() {
		if err != nil && !sent {
			err = errors.Join(err, s.zfs.DestroySnapshots([]string{snap}, false))
		}
	}()
	h := headerOf(s, from)
	if err := complete(s, snap, from, &h); err != nil {
		return err
	}
	w, err := f.target(c)
	if err != nil {
		return err
	}
	if err := write(ctx, c, s.zfs, snap, from.Name, h, w); err != nil {
		return errors.Join(err, w.drop())
	}
	if err = w.keep(); err == nil {
		err = transfer.MarkSent(s.zfs, snap)
	}
	if err != nil {
		return errors.Join(err, w.drop())
	}
	sent = true
	if err := w.deliver(); err != nil {
		return err
	}
	return f.report(c, shipment{Header: h, Dataset: s.dataset, Written: w.written})
}

// sweep destroys what commands left that were killed. None runs now.
func sweep(s *shelf, from string) error {
	names, err := transfer.FindAbandoned(s.zfs, s.dataset)
	if err != nil || len(names) == 0 {
		return err
	}
	if slices.Contains(names, from) {
		return fault.New(fault.Invalid, "the stream of %s never came to its end, and nobody has it: name another with --from", from)
	}
	return s.zfs.DestroySnapshots(names, false)
}

// complete fills in what the snapshot says.
func complete(s *shelf, snap string, from zfs.Dataset, h *transfer.Header) error {
	d, err := s.zfs.DatasetStats(snap)
	if err != nil {
		return err
	}
	_, h.Name, _ = strings.Cut(snap, "@")
	h.GUID, h.Time = d.GUID, d.Created().UTC()
	h.Bytes, err = s.zfs.SendSize(snap, from.Name)
	return err
}

func write(ctx context.Context, c console, z *zfs.Handle, snap, from string, h transfer.Header, w io.Writer) error {
	step, done := c.progress("sending", int64(h.Bytes))
	defer done()
	stream, err := transfer.NewWriter(stepping{w, step}, h)
	if err != nil {
		return err
	}
	if err := z.Send(ctx, snap, from, stream); err != nil {
		return err
	}
	return stream.Close()
}

// stepping counts what is written for a progress bar.
type stepping struct {
	w    io.Writer
	step func(int64)
}

func (s stepping) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.step(int64(n))
	return n, err
}

// snapshotTries is how often it is tried to catch a moment in which every image
// has its layers: a running Docker may be removing one.
const snapshotTries = 3

// snapshot copies Docker's records into the store, and takes a snapshot that has
// all of their layers.
func (f *sendFlags) snapshot(ctx context.Context, s *shelf) (snap string, err error) {
	for range snapshotTries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if snap, err = takeSent(s); err == nil {
			return snap, nil
		}
		again, readErr := s.docker.Read(s.host.Driver)
		if readErr != nil {
			return "", readErr
		}
		s.records = again
	}
	return "", err
}

func takeSent(s *shelf) (snap string, err error) {
	carried, err := overlayzfs.OpenCarried(s.dataset)
	if err != nil {
		return "", err
	}
	if err := errors.Join(transfer.Pack(s.docker, s.records, carried), carried.Close()); err != nil {
		return "", err
	}
	snap = fmt.Sprintf("%s@%s%s", s.dataset, sentPrefix, time.Now().UTC().Format("20060102T150405.000Z"))
	if err := transfer.TakeSnapshot(s.zfs, snap); err != nil {
		return "", err
	}
	// A layer that was recorded before and is there after is in the snapshot.
	seen, err := s.view.Layers()
	if err == nil {
		_, err = transfer.FindForeignLayers(seen, imagesOnly(s.records))
	}
	if err != nil {
		return "", errors.Join(err, s.zfs.DestroySnapshots([]string{snap}, false))
	}
	return snap, nil
}

// imagesOnly are the records without layers that no image has.
func imagesOnly(records *dockerstore.Records) *dockerstore.Records {
	only := &dockerstore.Records{Images: records.Images, Layers: map[digest.Digest]dockerstore.Layer{}}
	for _, image := range records.Images {
		for _, chain := range image.Chains {
			only.Layers[chain] = records.Layers[chain]
		}
	}
	return only
}

func (f *sendFlags) report(c console, s shipment) error {
	if f.json {
		return writeJSON(c.out, s)
	}
	_, err := fmt.Fprintf(c.err, "Sent %s@%s: %s and %s, %s. The next stream with --from last has only what has changed.\n",
		s.Dataset, s.Name, number(s.Images, "image"), number(s.Layers, "layer"), bytesText(s.Written))
	return err
}
