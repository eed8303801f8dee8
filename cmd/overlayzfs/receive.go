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
	"github.com/overlayzfs/overlayzfs/operator/containerd"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/operator/transfer/receive"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// receiveFlags are those of the receive command.
type receiveFlags struct {
	*storeFlags
	output
	consent
	file    string
	discard bool
	finish  bool
	address string // containerd's socket
}

// receiveCommand reads a stream into a store.
func receiveCommand(c console, where *storeFlags) *cobra.Command {
	f := receiveFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "receive [flags]",
		Short: "Read a stream of `overlayzfs send`",
		Long: "Read images from a stream of `overlayzfs send`. The stream says of which kind it is.\n\n" +
			"A plugin's store: dockerd has to be stopped. A full stream creates the dataset, which must not exist. An\n" +
			"incremental stream updates it, and drops the changes that this host has made to the store since the last\n" +
			"stream. receive refuses if the dataset has other content, or if this host has containers, a build cache, or\n" +
			"images that the stream lacks (unless --discard). If it is interrupted after it has verified the stream, run\n" +
			"it with --finish.\n\n" +
			"containerd's images: containerd and overlayzfs-snapshotter have to run. receive adds the images, and has\n" +
			"containerd unpack those for this host's platform. A name of another image goes to the image of the stream,\n" +
			"as with a pull. receive refuses if containerd would delete an image then (unless --discard). If it is\n" +
			"interrupted, run it again.\n\n" +
			"receive verifies checksums before it keeps anything, and refuses a stream of another version or with\n" +
			"unknown features.",
		Example: "  overlayzfs receive --dataset tank/docker --input /mnt/images.ozfs\n" +
			"  ssh other overlayzfs send | overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs receive --dataset tank/docker --finish --yes\n" +
			"  ssh node overlayzfs send --namespace k8s.io | overlayzfs receive --yes",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.checkPrompt(); err != nil {
				return err
			}
			if f.dryRun {
				return f.run(command.Context(), c)
			}
			return c.runLocked("receive", func() error { return f.run(command.Context(), c) })
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.file, "input", "i", "FILE", "-", "read this file; - is standard input")
	flags.BoolVar(&f.discard, "discard", false, "delete images that only this host has, and newer snapshots")
	valueFlag(flags, &f.address, "address", "", "SOCKET", "", "containerd's socket (default: Docker's, or \""+containerd.DefaultAddress+"\")")
	flags.BoolVar(&f.finish, "finish", false, "read no stream, and finish an interrupted receive")
	return command
}

// checkPrompt refuses to prompt while standard input is the stream.
func (f *receiveFlags) checkPrompt() error {
	if f.file == "-" && !f.finish && !f.yes && !f.dryRun {
		return usagef("cannot prompt while reading the stream from stdin; pass --yes or --input FILE")
	}
	return f.consent.checkPrompt(f.output)
}

// receiveReport is what receive prints.
type receiveReport struct {
	transfer.Header
	Dataset string   `json:"dataset"`
	Root    string   `json:"root"`
	Lost    []string `json:"lost"`    // images that the stream deletes
	Refused []string `json:"refused"` // why the stream does not fit
	DryRun  bool     `json:"dry_run,omitempty"`
}

// finishReport is what receive --finish prints.
type finishReport struct {
	Dataset string `json:"dataset"`
	Root    string `json:"root"`
	Stream  string `json:"stream,omitempty"` // whose receive was interrupted
	Gone    bool   `json:"gone,omitempty"`   // nothing of it was kept: the store is as before
	Images  int    `json:"images,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

func (f *receiveFlags) run(ctx context.Context, c console) error {
	if f.finish {
		return f.withReceiver(func(r *receive.Receiver) error { return f.finishReceive(ctx, c, r) })
	}
	in, err := f.openInput(c)
	if err != nil {
		return err
	}
	defer in.Close()
	stream, err := frame.NewReader(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return err
	}
	if stream.Version == frame.Images {
		return f.receiveImages(ctx, c, stream)
	}
	return f.withReceiver(func(r *receive.Receiver) error { return f.readStream(ctx, c, r, stream) })
}

// withReceiver runs a command that changes a plugin's store, with dockerd kept out.
func (f *receiveFlags) withReceiver(run func(*receive.Receiver) error) (err error) {
	if f.address != "" {
		return usagef("--address is for a stream of containerd's images, and this one has a plugin's store; leave it out")
	}
	where, err := f.locate()
	if err != nil {
		return err
	}
	if where.Dataset == "" {
		return usagef("no dataset to receive into; pass --dataset POOL/NAME")
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
	defer lock.Close() // the file may be nil, and Close fails then
	return run(&receive.Receiver{ZFS: z, Where: where, Discard: f.discard, DryRun: f.dryRun, Remedy: f.finishCommand(where)})
}

// readStream receives a store, and installs Docker's records from it.
func (f *receiveFlags) readStream(ctx context.Context, c console, r *receive.Receiver, in *frame.Reader) error {
	stream, err := transfer.NewReaderOf(in)
	if err != nil {
		return err
	}
	plan, err := r.Examine(stream)
	if err != nil {
		return err
	}
	err = f.confirmAndReceive(ctx, c, r, plan, stream.Header)
	if err := errors.Join(err, plan.Close()); err != nil || f.dryRun {
		return err
	}
	images, err := r.Finish(ctx, plan.Receiving)
	if err == nil && !f.json {
		_, err = fmt.Fprintln(c.out, describeReceived(images, r.Where))
	}
	return err
}

// confirmAndReceive prints the plan, asks, and receives the stream.
func (f *receiveFlags) confirmAndReceive(ctx context.Context, c console, r *receive.Receiver, plan *receive.Plan, h transfer.Header) error {
	a := receiveReport{Header: h, Dataset: r.Where.Dataset, Root: r.Where.Root, Lost: plan.Lost, Refused: plan.Refused, DryRun: f.dryRun}
	if err := f.print(c, a); err != nil {
		return err
	}
	if err := plan.Check(); err != nil || f.dryRun {
		return err
	}
	if err := f.confirm(ctx, c, "Receive it?"); err != nil {
		return err
	}
	step, done := c.showProgress("receiving", int64(h.Bytes))
	defer done()
	return plan.Receive(ctx, step)
}

func (f *receiveFlags) openInput(c console) (io.ReadCloser, error) {
	if f.file == "-" {
		return io.NopCloser(c.in), nil
	}
	return os.Open(f.file)
}

// finishReceive finishes an interrupted receive, or abandons one that kept nothing.
func (f *receiveFlags) finishReceive(ctx context.Context, c console, r *receive.Receiver) error {
	receiving, err := r.ReadReceiving()
	if err != nil {
		return err
	}
	e := finishReport{Dataset: r.Where.Dataset, Root: r.Where.Root, Stream: receiving.To, DryRun: f.dryRun}
	if receiving.To != "" {
		e.Gone, err = r.Abandon(ctx, receiving)
	}
	if err == nil && !e.Gone {
		e.Images, err = f.confirmAndFinish(ctx, c, r, receiving)
	}
	if err != nil {
		return err
	}
	return f.reportFinish(c, e, r.Where)
}

// confirmAndFinish asks, and installs Docker's records.
func (f *receiveFlags) confirmAndFinish(ctx context.Context, c console, r *receive.Receiver, receiving overlayzfs.Receiving) (images int, err error) {
	if err := r.CheckFinish(ctx, receiving); err != nil {
		return 0, err
	}
	if !f.json {
		fmt.Fprintf(c.out, "Install Docker's records of the stream that %s has received into %s.\n", r.Where.Dataset, r.Where.Root)
	}
	if f.dryRun {
		return 0, nil
	}
	if err := f.confirm(ctx, c, "Finish it?"); err != nil {
		return 0, err
	}
	return r.Finish(ctx, receiving)
}

// finishCommand returns the command that finishes this receive if it is interrupted.
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

func (f *receiveFlags) print(c console, a receiveReport) error {
	if f.json {
		return writeJSON(c.out, a)
	}
	return writeArrival(c.out, a)
}

func writeArrival(w io.Writer, a receiveReport) error {
	fmt.Fprintf(w, "Stream %s: %s, to %s; Docker's records to %s.\n", a.Name, describeHeader(a.Header), a.Dataset, a.Root)
	for _, lost := range a.Lost {
		fmt.Fprintln(w, "  will be deleted:", fault.Printable(lost))
	}
	return writeObstacles(w, a.Refused)
}

// reportFinish prints the result of receive --finish.
func (f *receiveFlags) reportFinish(c console, e finishReport, where host.Location) (err error) {
	switch {
	case f.json:
		err = writeJSON(c.out, e)
	case e.Gone && e.DryRun:
		_, err = fmt.Fprintf(c.out, "The stream %s was not received completely: %s would be as before.\n", e.Stream, e.Dataset)
	case e.Gone:
		_, err = fmt.Fprintf(c.out, "The stream %s was not received completely: %s is as before. Receive it again.\n", e.Stream, e.Dataset)
	case !e.DryRun:
		_, err = fmt.Fprintln(c.out, describeReceived(e.Images, where))
	}
	return err
}

// describeReceived is the message of a receive that is done.
func describeReceived(images int, where host.Location) string {
	return fmt.Sprintf("Done: %s. dockerd can be started with storage driver %s and overlayzfs.dataset=%s.", count(images, "image"), where.Driver, where.Dataset)
}
