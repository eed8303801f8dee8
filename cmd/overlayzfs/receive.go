package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// receiveFlags are those of the receive command.
type receiveFlags struct {
	place
	output
	consent
	file    string
	discard bool
	finish  bool
}

// receiveCommand makes a store of a stream.
func receiveCommand(c console) *cobra.Command {
	var f receiveFlags
	command := &cobra.Command{
		Use:   "receive [flags]",
		Short: "Read a stream of `overlayzfs send`, while dockerd is stopped",
		Long: "Read a stream of `overlayzfs send`: images, layers and Docker's records of them. A stream with everything\n" +
			"makes the dataset, which must not exist; one with what has changed goes on where the last one ended, and\n" +
			"what this host has made of the store since is dropped.\n\n" +
			"dockerd has to be stopped. Refused is what does not fit: features and version, a dataset that holds\n" +
			"something else, images that only this host has (unless --discard), containers, a build cache.\n\n" +
			"The stream is checked before anything of it stays. Interrupted after that, --finish does the rest.",
		Example: "  overlayzfs receive --dataset tank/docker --input /mnt/images.ozfs\n" +
			"  ssh other overlayzfs send | overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs receive --dataset tank/docker --finish --yes",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.checkConsent(); err != nil {
				return err
			}
			if f.dryRun {
				return f.receive(command.Context(), c)
			}
			return c.changing("receive", func() error { return f.receive(command.Context(), c) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	f.consent.flag(command.Flags())
	flags := command.Flags()
	flags.StringVarP(&f.file, "input", "i", "-", "`FILE` to read; - is standard input")
	flags.BoolVar(&f.discard, "discard", false, "drop images that only this host has, and newer snapshots")
	flags.BoolVar(&f.finish, "finish", false, "read no stream: finish what was interrupted")
	return command
}

// checkConsent: an answer cannot come where the stream does.
func (f *receiveFlags) checkConsent() error {
	if f.file == "-" && !f.finish && !f.yes && !f.dryRun {
		return usagef("the stream is read from where an answer would come: say --yes, or --input FILE")
	}
	return f.consent.check(f.output)
}

// arrival is what receive prints.
type arrival struct {
	transfer.Header
	Dataset string   `json:"dataset"`
	Root    string   `json:"root"`
	Lost    []string `json:"lost"`    // images that go with it
	Refused []string `json:"refused"` // why it does not fit
	DryRun  bool     `json:"dry_run,omitempty"`
}

func (f *receiveFlags) receive(ctx context.Context, c console) (err error) {
	where, err := f.find()
	if err != nil {
		return err
	}
	if where.Dataset == "" {
		return usagef("name the dataset with --dataset POOL/NAME")
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	lock, err := quiet(where)
	if err != nil {
		return err
	}
	defer lock.Close() // of a nil file it is an error, which says nothing
	if f.finish {
		return f.resume(ctx, c, z, where)
	}
	return f.read(ctx, c, z, where)
}

// quiet makes sure that dockerd does not run, and keeps it from starting.
func quiet(where host.Location) (*os.File, error) {
	docker, err := dockerstore.Open(where.Root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err := docker.Claim()
	if errors.Is(err, fault.Busy) {
		err = fmt.Errorf("%w: %w", err, errRefused)
	}
	return lock, errors.Join(err, docker.Close())
}

func (f *receiveFlags) read(ctx context.Context, c console, z *zfs.Handle, where host.Location) error {
	in, err := f.open(c)
	if err != nil {
		return err
	}
	defer in.Close()
	stream, err := transfer.NewReader(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return err
	}
	mark, err := f.alone(ctx, c, z, where, stream)
	if err != nil || f.dryRun {
		return err
	}
	images, err := f.settle(ctx, z, where, mark)
	if err == nil && !f.json {
		_, err = fmt.Fprintln(c.out, settled(images, where))
	}
	return err
}

// alone receives, while nobody has the store open that the stream goes on from.
// That dockerd does not run is known of its data-root, which could be another than
// it is looked for in.
func (f *receiveFlags) alone(ctx context.Context, c console, z *zfs.Handle, where host.Location, stream *transfer.Reader) (mark overlayzfs.Receiving, err error) {
	if !stream.Header.Full() {
		claim, busy := overlayzfs.ClaimDataset(where.Dataset)
		switch {
		case errors.Is(busy, fault.NotFound): // which announce says
		case busy != nil:
			return mark, unused(busy)
		default:
			defer func() { err = errors.Join(err, claim.Close()) }()
		}
	}
	if mark, err = f.announce(c, z, where, stream); err != nil || f.dryRun {
		return mark, err
	}
	if err := f.agree(ctx, c, "Receive it?"); err != nil {
		return mark, err
	}
	return mark, f.take(ctx, c, z, where, stream, mark)
}

func (f *receiveFlags) open(c console) (io.ReadCloser, error) {
	if f.file == "-" {
		return io.NopCloser(c.in), nil
	}
	return os.Open(f.file)
}

// announce says what would be done, and refuses what does not fit.
func (f *receiveFlags) announce(c console, z *zfs.Handle, where host.Location, stream *transfer.Reader) (mark overlayzfs.Receiving, err error) {
	a := arrival{Header: stream.Header, Dataset: where.Dataset, Root: where.Root, Lost: []string{}, Refused: []string{}, DryRun: f.dryRun}
	target, err := transfer.LookAt(z, where.Dataset, stream.Begin)
	if err != nil {
		return mark, err
	}
	a.Refused = append(a.Refused, target.Misfits(stream.Header, f.discard)...)
	unfinished, err := f.unfinished(z, where)
	if err != nil {
		return mark, err
	}
	a.Refused = append(a.Refused, unfinished...)
	common := target.Common(stream.Header)
	lost, first, err := before(where, common)
	if err != nil {
		return mark, err
	}
	a.Lost = append(a.Lost, lost...)
	a.Refused = append(a.Refused, first...)
	if len(lost) > 0 && !f.discard {
		a.Refused = append(a.Refused, fmt.Sprintf("only this host has %s: save them (docker save), or drop them with --discard", number(len(lost), "image")))
	}
	if err := f.print(c, a); err != nil {
		return mark, err
	}
	if len(a.Refused) > 0 {
		return mark, fmt.Errorf("the stream does not fit: %w", errRefused)
	}
	_, from, _ := strings.Cut(common, "@")
	return overlayzfs.Receiving{From: from, To: stream.Header.Name}, nil
}

// unfinished refuses to go on from what an earlier receive has left half done. If
// ZFS was interrupted there is nothing of it, and nothing to do.
func (f *receiveFlags) unfinished(z *zfs.Handle, where host.Location) ([]string, error) {
	mark, err := overlayzfs.ReceivingOn(z, where.Dataset)
	if err != nil || mark == nil {
		return nil, err
	}
	there, err := z.Exists(where.Dataset + "@" + mark.To)
	if err != nil || !there && !mark.Refused {
		return nil, err
	}
	return []string{fmt.Sprintf("receiving the stream %s was cut short: `%s` first", mark.To, f.remedy(where))}, nil
}

func (f *receiveFlags) print(c console, a arrival) error {
	if f.json {
		return writeJSON(c.out, a)
	}
	return writeArrival(c.out, a)
}

func writeArrival(w io.Writer, a arrival) error {
	fmt.Fprintf(w, "%s, with %s, to %s; Docker's records to %s.\n", a.Name, describeHeader(a.Header), a.Dataset, a.Root)
	for _, lost := range a.Lost {
		fmt.Fprintln(w, "  lost:", fault.Printable(lost))
	}
	for _, why := range a.Refused {
		fmt.Fprintln(w, "  but", fault.Printable(why))
	}
	return nil
}

// take has ZFS receive the stream, on a dataset that is marked with it: from the
// moment that it is there until it is settled, no driver opens the store.
func (f *receiveFlags) take(ctx context.Context, c console, z *zfs.Handle, where host.Location, stream *transfer.Reader, mark overlayzfs.Receiving) error {
	o, err := receiving(z, where, mark)
	if err != nil {
		return err
	}
	step, done := c.progress("receiving", int64(stream.Header.Bytes))
	defer done()
	err = z.Receive(ctx, where.Dataset+"@"+mark.To, stream.Begin, o, counting{stream, step})
	if err == nil || mark.From == "" {
		return err
	}
	came, lookErr := z.Exists(where.Dataset + "@" + mark.To)
	if lookErr != nil || came {
		return errors.Join(fmt.Errorf("%w: `%s` says what came of it: %w", err, f.remedy(where), errUnfinished), lookErr)
	}
	return errors.Join(err, overlayzfs.Unmark(z, where.Dataset)) // nothing of it stays
}

// receiving marks the dataset, or has it made with the mark.
func receiving(z *zfs.Handle, where host.Location, mark overlayzfs.Receiving) (o zfs.Receiving, err error) {
	if mark.From != "" {
		return zfs.Receiving{Force: true}, mark.Mark(z, where.Dataset)
	}
	if o.Properties, err = host.LayerProperties(); err != nil {
		return o, err
	}
	marked, err := mark.Properties()
	maps.Copy(o.Properties, marked)
	return o, err
}

// counting counts what is read for a progress bar.
type counting struct {
	r    io.Reader
	step func(int64)
}

func (s counting) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.step(int64(n))
	return n, err
}
