package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/operator/transfer/send"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// sendFlags are those of the send command.
type sendFlags struct {
	*storeFlags
	output
	from   string
	file   string
	dryRun bool

	namespaces []string // of a snapshotter's store
	skip       bool
}

// sendCommand writes a store as a stream.
func sendCommand(c console, where *storeFlags) *cobra.Command {
	f := sendFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "send [flags]",
		Short: "Write all images to a stream",
		Long: "Write all images to one stream. `overlayzfs receive` gives another host the same images without a registry.\n" +
			"dockerd and containerd may run.\n\n" +
			"Of a plugin's store send writes the layers and Docker's records of images. It takes a snapshot and keeps it.\n" +
			"With --from the stream begins at such a snapshot and has only the changes since.\n\n" +
			"Of a snapshotter's store send writes containerd's images: their names and blobs, of all name spaces or of\n" +
			"those that --namespace names. Docker's is moby, Kubernetes' k8s.io. It refuses if containerd lacks layers of\n" +
			"an image, unless --skip-incomplete leaves that out. --from is refused: there are no streams of changes.\n\n" +
			"The stream has no containers, volumes or build cache. It is not encrypted, even if the dataset is.",
		Example: "  overlayzfs send | ssh other overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs send --from last | ssh other overlayzfs receive --dataset tank/docker --yes\n" +
			"  overlayzfs send --output /mnt/images.ozfs\n" +
			"  overlayzfs send --namespace k8s.io | ssh node overlayzfs receive --yes",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.run(command.Context(), c) },
	}
	f.output.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.from, "from", "", "SNAPSHOT", "", `send only the changes since this snapshot, which the receiver has; "last" is the one sent last`)
	valueFlag(flags, &f.file, "output", "o", "FILE", "-", "write to this new file; - is standard output")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be sent, and do nothing")
	flags.StringArrayVar(&f.namespaces, "namespace", nil, "send the images of containerd's name space `NAME` (repeatable; default: all that have images)")
	flags.BoolVar(&f.skip, "skip-incomplete", false, "leave out images whose layers containerd lacks")
	f.registerContainerd(flags)
	return command
}

// sendReport is what send prints.
type sendReport struct {
	transfer.Header
	Dataset string `json:"dataset"`
	Written int64  `json:"written,omitempty"` // bytes
	DryRun  bool   `json:"dry_run,omitempty"`
}

func (f *sendFlags) run(ctx context.Context, c console) error {
	if err := errors.Join(f.checkOutput(c), send.CheckFree(f.file)); err != nil {
		return err
	}
	return f.readStore(func(s *inventory.Source) error {
		if s.Docker == nil {
			return f.sendImages(ctx, c, s)
		}
		if len(f.namespaces) > 0 || f.skip {
			return usagef("--namespace and --skip-incomplete are for a snapshotter's store, and %s is a plugin's; leave them out", s.Dataset)
		}
		if s.Where.Dataset == "" {
			return fault.New(fault.Unsupported, "the store lies in Docker's data-root, and has no dataset of its own to send: `zfs send` the data-root's dataset")
		}
		sender := &send.Sender{Source: s, Progress: func(size int64) (func(int64), func()) { return c.showProgress("sending", size) },
			RunLocked: func(run func() error) error { return c.runLocked("send", run) }}
		base, err := sender.FindBase(f.from)
		if err != nil {
			return err
		}
		if f.dryRun {
			return f.preview(c, sender, base)
		}
		return f.send(ctx, c, sender, base)
	})
}

// checkOutput refuses to write a stream to a terminal or between JSON.
func (f *sendFlags) checkOutput(c console) error {
	if f.dryRun || f.file != "-" {
		return nil
	}
	if f.json {
		return usagef("cannot write both JSON and the stream to standard output; pass --output FILE")
	}
	if file, ok := c.out.(*os.File); ok && isTerminal(file) {
		return usagef("cannot write a stream to a terminal; pipe it to a command, or pass --output FILE")
	}
	return nil
}

// preview prints what would be sent.
func (f *sendFlags) preview(c console, sender *send.Sender, base zfs.Dataset) error {
	h, err := sender.Estimate(base)
	if err != nil {
		return err
	}
	dataset := sender.Source.Dataset
	if f.json {
		return writeJSON(c.out, sendReport{Header: h, Dataset: dataset, DryRun: true})
	}
	_, err = fmt.Fprintln(c.out, "Would send "+describeHeader(h)+", of "+dataset+".")
	return err
}

// describeHeader is a stream in words.
func describeHeader(h transfer.Header) string {
	scope := "everything"
	if !h.IsFull() {
		scope = "the changes since " + h.From
	}
	return fmt.Sprintf("%s and %s, %s: about %s", count(h.Images, "image"), count(h.Layers, "layer"), scope, bytesText(h.Bytes))
}

func (f *sendFlags) send(ctx context.Context, c console, sender *send.Sender, base zfs.Dataset) error {
	h, written, err := sender.Send(ctx, base, func() (*send.Output, error) { return send.NewOutput(f.file, c.out) })
	if err != nil {
		return err
	}
	return f.report(c, sendReport{Header: h, Dataset: sender.Source.Dataset, Written: written})
}

func (f *sendFlags) report(c console, r sendReport) error {
	if f.json {
		return writeJSON(c.out, r)
	}
	_, err := fmt.Fprintf(c.err, "Sent %s@%s: %s and %s, %s. The next stream with --from last has only the changes since.\n",
		r.Dataset, r.Name, count(r.Images, "image"), count(r.Layers, "layer"), bytesText(r.Written))
	return err
}
