package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/operator/backup"
	"github.com/overlayzfs/overlayzfs/operator/transfer/send"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// backupFlags are those of the backup command.
type backupFlags struct {
	*storeFlags
	output
	records string
	have    string
	file    string
	dryRun  bool
}

// backupCommand writes layers, records and volumes to a stream.
func backupCommand(c console, where *storeFlags) *cobra.Command {
	f := backupFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "backup [SNAPSHOT] [flags]",
		Short: "Write layers, containers, Docker's records and volumes to a stream",
		Long: "Write everything of one moment to a stream for `overlayzfs restore`: layers, files of containers, Docker's\n" +
			"records, and the datasets below the data-root, such as one of volumes. Take a snapshot for it and keep it,\n" +
			"or send SNAPSHOT. dockerd may run.\n\n" +
			"With --have only what the receiver lacks is sent: changes since the last backup, or the rest of a stream\n" +
			"that was cut. Encrypted datasets are sent encrypted, and need no key on either side.",
		Example: "  overlayzfs backup | ssh other overlayzfs restore backup/docker --yes\n" +
			"  ssh other overlayzfs restore backup/docker --have | overlayzfs backup --have - | ssh other overlayzfs restore backup/docker --yes\n" +
			"  overlayzfs backup --output /mnt/docker.ozbackup",
		Args: optionalArg,
		RunE: func(command *cobra.Command, args []string) error {
			return f.run(command.Context(), c, append(args, "")[0])
		},
	}
	f.output.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.records, "records", "", "POOL/NAME", "", "dataset of Docker's data-root (default: the one that the data-root lies on)")
	f.registerContainerd(flags)
	valueFlag(flags, &f.have, "have", "", "FILE", "", "send only what the receiver lacks; FILE is the output of restore --have there, - is standard input")
	valueFlag(flags, &f.file, "output", "o", "FILE", "-", "write to this new file; - is standard output")
	flags.BoolVar(&f.dryRun, "dry-run", false, dryRunUsage)
	return command
}

// backupReport is what backup prints.
type backupReport struct {
	backup.Header
	Written int64 `json:"written,omitempty"` // bytes
	DryRun  bool  `json:"dry_run,omitempty"`
}

func (f *backupFlags) run(ctx context.Context, c console, name string) error {
	out := sendFlags{output: f.output, file: f.file, dryRun: f.dryRun}
	if err := errors.Join(out.checkOutput(c), send.CheckFree(f.file)); err != nil {
		return err
	}
	if err := f.findRecords(); err != nil {
		return err
	}
	name, err := f.splitSnapshot(name)
	if err != nil {
		return err
	}
	state, err := f.readState(c)
	if err != nil {
		return err
	}
	return f.openZFS(func(z *zfs.Handle) error {
		sent := func(dataset string) bool { return dataset == f.records || strings.HasPrefix(dataset, f.records+"/") }
		if err := f.requireContainerdIsSent(sent); err != nil {
			return err
		}
		source := backup.Source{ZFS: z, Layers: f.dataset, Records: f.records}
		return f.send(ctx, c, source, name, state)
	})
}

// findRecords takes the dataset that Docker's data-root lies on, unless one is named.
func (f *backupFlags) findRecords() error {
	if f.records != "" {
		return zfs.CheckDatasetName(f.records)
	}
	where, err := f.locate()
	if err != nil {
		return err
	}
	if f.records, err = zfs.DatasetOf(where.Root); err != nil {
		return usagef("no dataset of Docker's data-root found; pass --records POOL/NAME: %w", err)
	}
	return nil
}

func (f *backupFlags) readState(c console) (backup.State, error) {
	if f.have == "" {
		return backup.State{}, nil
	}
	in, err := openFile(c, f.have)
	if err != nil {
		return backup.State{}, err
	}
	defer in.Close()
	return backup.ParseState(in)
}

// openFile opens a file to read; - is standard input.
func openFile(c console, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.in), nil
	}
	return os.Open(name)
}

// send sends a snapshot: the one that is named, or the one whose stream was cut, or a new one.
func (f *backupFlags) send(ctx context.Context, c console, source backup.Source, name string, state backup.State) (err error) {
	if name == "" {
		if name, err = source.FindInterrupted(state); err != nil {
			return err
		}
	}
	if name == "" && f.dryRun {
		_, err := fmt.Fprintf(c.out, "Would take a snapshot of %s and %s, with all datasets below, and send it.\n", source.Records, source.Layers)
		return err
	}
	var h backup.Header
	err = c.runLocked("backup", func() error {
		if name == "" {
			if name, err = source.TakeSnapshot(ctx); err != nil {
				return err
			}
		}
		if h, err = source.Plan(name, state); err != nil {
			return err
		}
		if f.dryRun {
			return nil
		}
		return source.Hold(h)
	})
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.report(c, backupReport{Header: h, DryRun: true})
	}
	// A receiver that ends early must not kill this process before it has said so.
	signal.Ignore(unix.SIGPIPE)
	written, err := f.write(ctx, c, source, h, state)
	if err != nil {
		return err
	}
	return f.report(c, backupReport{Header: h, Written: written})
}

func (f *backupFlags) write(ctx context.Context, c console, source backup.Source, h backup.Header, state backup.State) (written int64, err error) {
	out, err := send.NewOutput(f.file, c.out)
	if err != nil {
		return 0, err
	}
	step, done := c.showProgress("sending", int64(h.Bytes()))
	defer done()
	if err := source.Send(ctx, h, state, out, func(n int64) { written += n; step(n) }); err != nil {
		return written, errors.Join(err, out.Discard())
	}
	return written, errors.Join(out.Sync(), out.Name())
}

func (f *backupFlags) report(c console, r backupReport) (err error) {
	switch {
	case f.json:
		err = writeJSON(c.out, r)
	case r.DryRun:
		_, err = fmt.Fprintf(c.out, "Would send %s of %s: about %s.\n", count(r.Missing(), "dataset"), r.Name, bytesText(r.Bytes()))
	default:
		_, err = fmt.Fprintf(c.err, "Sent %s of %s, %s. The receiver has %s already.\n",
			count(r.Missing(), "dataset"), r.Name, bytesText(r.Written), count(len(r.Datasets)-r.Missing(), "other"))
	}
	return err
}
