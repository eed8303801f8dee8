package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/operator/transfer/receive"
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

// finished is what receive --finish prints.
type finished struct {
	Dataset string `json:"dataset"`
	Root    string `json:"root"`
	Stream  string `json:"stream,omitempty"` // that was being received
	Gone    bool   `json:"gone,omitempty"`   // nothing of it is there: all is as it was before
	Images  int    `json:"images,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
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
	lock, err := receive.LockDocker(where)
	if err != nil {
		return err
	}
	defer lock.Close() // of a nil file it is an error, which says nothing
	r := &receive.Receiver{ZFS: z, Where: where, Discard: f.discard, DryRun: f.dryRun, Remedy: f.finishCommand(where)}
	if f.finish {
		return f.finishReceive(ctx, c, r)
	}
	return f.readStream(ctx, c, r)
}

// readStream receives a stream and finishes what came.
func (f *receiveFlags) readStream(ctx context.Context, c console, r *receive.Receiver) error {
	in, err := f.open(c)
	if err != nil {
		return err
	}
	defer in.Close()
	stream, err := transfer.NewReader(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return err
	}
	plan, err := r.Examine(stream)
	if err != nil {
		return err
	}
	err = f.agreeAndReceive(ctx, c, r, plan, stream.Header)
	if err := errors.Join(err, plan.Close()); err != nil || f.dryRun {
		return err
	}
	images, err := r.Finish(ctx, plan.Mark)
	if err == nil && !f.json {
		_, err = fmt.Fprintln(c.out, describeReceived(images, r.Where))
	}
	return err
}

// agreeAndReceive shows the plan, asks, and has the stream received.
func (f *receiveFlags) agreeAndReceive(ctx context.Context, c console, r *receive.Receiver, plan *receive.Plan, h transfer.Header) error {
	a := arrival{Header: h, Dataset: r.Where.Dataset, Root: r.Where.Root, Lost: plan.Lost, Refused: plan.Refused, DryRun: f.dryRun}
	if err := f.print(c, a); err != nil {
		return err
	}
	if err := plan.Check(); err != nil || f.dryRun {
		return err
	}
	if err := f.agree(ctx, c, "Receive it?"); err != nil {
		return err
	}
	step, done := c.progress("receiving", int64(h.Bytes))
	defer done()
	return plan.Receive(ctx, step)
}

func (f *receiveFlags) open(c console) (io.ReadCloser, error) {
	if f.file == "-" {
		return io.NopCloser(c.in), nil
	}
	return os.Open(f.file)
}

// finishReceive does what an interrupted receive has left to do.
func (f *receiveFlags) finishReceive(ctx context.Context, c console, r *receive.Receiver) error {
	mark, err := r.Mark()
	if err != nil {
		return err
	}
	e := finished{Dataset: r.Where.Dataset, Root: r.Where.Root, Stream: mark.To, DryRun: f.dryRun}
	if mark.To != "" {
		e.Gone, err = r.Abandon(ctx, mark)
	}
	if err == nil && !e.Gone {
		e.Images, err = f.agreeAndFinish(ctx, c, r, mark)
	}
	if err != nil {
		return err
	}
	return f.reportFinish(c, e, r.Where)
}

// agreeAndFinish asks, and finishes what was received.
func (f *receiveFlags) agreeAndFinish(ctx context.Context, c console, r *receive.Receiver, mark overlayzfs.Receiving) (images int, err error) {
	if err := r.CheckFinish(ctx, mark); err != nil {
		return 0, err
	}
	if !f.json {
		fmt.Fprintf(c.out, "Docker's records of what %s has received, to %s.\n", r.Where.Dataset, r.Where.Root)
	}
	if f.dryRun {
		return 0, nil
	}
	if err := f.agree(ctx, c, "Finish it?"); err != nil {
		return 0, err
	}
	return r.Finish(ctx, mark)
}

// finishCommand is the command that finishes an interrupted receive.
func (f *receiveFlags) finishCommand(where host.Location) string {
	command := fmt.Sprintf("overlayzfs receive --finish --yes --dataset %s --root %q --driver %q", where.Dataset, where.Root, where.Driver)
	if f.wanted.Config != "" && f.wanted.Config != f.config {
		command += fmt.Sprintf(" --config-file %q", f.wanted.Config)
	}
	if f.discard {
		command += " --discard"
	}
	return command
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

// reportFinish says what came of receive --finish.
func (f *receiveFlags) reportFinish(c console, e finished, where host.Location) (err error) {
	switch {
	case f.json:
		err = writeJSON(c.out, e)
	case e.Gone && e.DryRun:
		_, err = fmt.Fprintf(c.out, "The stream %s is not there: %s would be as it was before.\n", e.Stream, e.Dataset)
	case e.Gone:
		_, err = fmt.Fprintf(c.out, "The stream %s is not there: %s is as it was before. Receive it again.\n", e.Stream, e.Dataset)
	case !e.DryRun:
		_, err = fmt.Fprintln(c.out, describeReceived(e.Images, where))
	}
	return err
}

// describeReceived says that all is done.
func describeReceived(images int, where host.Location) string {
	return fmt.Sprintf("Done: %s. dockerd can be started with storage driver %s and overlayzfs.dataset=%s.", number(images, "image"), where.Driver, where.Dataset)
}
