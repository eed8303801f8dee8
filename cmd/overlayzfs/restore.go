package main

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/backup"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// restoreFlags are those of the restore command.
type restoreFlags struct {
	*storeFlags
	output
	consent
	file  string
	have  bool
	mount bool
}

// restoreCommand receives a backup.
func restoreCommand(c console, where *storeFlags) *cobra.Command {
	f := restoreFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "restore DATASET [flags]",
		Short: "Receive a stream of `overlayzfs backup`, and mount it",
		Long: "Receive a stream of `overlayzfs backup` into DATASET and datasets below it. What is received is not mounted,\n" +
			"by no boot either. An interrupted receive keeps what it has: `overlayzfs backup --have` sends the rest.\n\n" +
			"With --mount read no stream. Mount what was received as it was at its sender, or with the data-root on\n" +
			"--root. This is refused where anything is mounted or lies there.",
		Example: "  overlayzfs restore backup/docker --input /mnt/docker.ozbackup\n" +
			"  overlayzfs restore backup/docker --have\n" +
			"  overlayzfs restore tank/docker --mount --yes",
		Args: oneArg,
		RunE: func(command *cobra.Command, args []string) error {
			return f.run(command.Context(), c, args[0])
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.file, "input", "i", "FILE", "-", "read this file; - is standard input")
	flags.BoolVar(&f.have, "have", false, "read no stream; print what was received, for backup --have")
	flags.BoolVar(&f.mount, "mount", false, "read no stream; mount what was received")
	return command
}

func (f *restoreFlags) run(ctx context.Context, c console, dataset string) error {
	if err := backup.RequireNew(dataset); err != nil {
		return usageError{err}
	}
	if f.file == "-" && !f.have && !f.mount && !f.yes && !f.dryRun {
		return usagef("cannot prompt while reading the stream from stdin; pass --yes or --input FILE")
	}
	if !f.have {
		if err := f.checkPrompt(f.output); err != nil {
			return err
		}
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // every write has been answered
	target := backup.Target{ZFS: z, Dataset: dataset}
	switch {
	case f.have:
		state, err := backup.ReadState(z, dataset)
		if err != nil {
			return err
		}
		return writeJSON(c.out, state)
	case f.mount && f.dryRun:
		_, err := f.planMount(c, target)
		return err
	case f.mount:
		return c.runLocked("restore", func() error { return f.mountAll(ctx, c, target) })
	}
	// The lock of changing commands is not taken: receiving takes hours, and a backup on this
	// host may be what writes the stream. ZFS itself refuses two streams for one dataset.
	return f.receive(ctx, c, target)
}

// restoreReport is what restore prints.
type restoreReport struct {
	backup.Header
	Dataset string   `json:"dataset"`
	Refused []string `json:"refused"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

func (f *restoreFlags) receive(ctx context.Context, c console, target backup.Target) error {
	in, err := openFile(c, f.file)
	if err != nil {
		return err
	}
	defer in.Close()
	stream := bufio.NewReaderSize(in, 1<<20)
	h, err := backup.ReadHeader(stream)
	if err != nil {
		return err
	}
	refused, err := target.Examine(h)
	if err != nil {
		return err
	}
	if err := f.show(c, restoreReport{Header: h, Dataset: target.Dataset, Refused: nonNil(refused), DryRun: f.dryRun}); err != nil {
		return err
	}
	if len(refused) > 0 {
		return fmt.Errorf("the backup does not fit: %w", errRefused)
	}
	if f.dryRun {
		return nil
	}
	if err := f.confirm(ctx, c, "Receive it?"); err != nil {
		return err
	}
	step, done := c.showProgress("receiving", int64(h.Bytes()))
	defer done()
	if err := target.Receive(ctx, h, stream, step); err != nil {
		return fmt.Errorf("%w; `overlayzfs restore %s --have` says what is there, and `overlayzfs backup --have` sends the rest: %w", err, target.Dataset, errUnfinished)
	}
	if !f.json {
		_, err = fmt.Fprintf(c.out, "Received %s. Nothing of it is mounted; `overlayzfs restore %s --mount` does that.\n", h.Name, target.Dataset)
	}
	return err
}

func (f *restoreFlags) show(c console, r restoreReport) error {
	if f.json {
		return writeJSON(c.out, r)
	}
	fmt.Fprintf(c.out, "Backup %s: %s of %d, about %s, to %s.\n", r.Name, count(r.Missing(), "dataset"), len(r.Datasets), bytesText(r.Bytes()), r.Dataset)
	return writeObstacles(c.out, r.Refused)
}

// planMount makes and prints the plan of mounting what was received.
func (f *restoreFlags) planMount(c console, target backup.Target) (plan backup.MountPlan, err error) {
	if plan, err = target.PlanMount(f.wanted.Root); err != nil {
		return plan, err
	}
	if f.json {
		err = writeJSON(c.out, plan)
	} else {
		err = writeMountPlan(c.out, plan)
	}
	if err == nil && len(plan.Refused) > 0 {
		err = fmt.Errorf("the backup cannot be mounted: %w", errRefused)
	}
	return plan, err
}

func writeMountPlan(w io.Writer, plan backup.MountPlan) error {
	for _, s := range plan.Steps {
		fmt.Fprintf(w, "  %s: mountpoint=%s\n", s.Dataset, s.Mountpoint)
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintln(w, "Everything is mounted already.")
	}
	return writeObstacles(w, plan.Refused)
}

func (f *restoreFlags) mountAll(ctx context.Context, c console, target backup.Target) error {
	plan, err := f.planMount(c, target)
	if err != nil {
		return err
	}
	if err := f.confirm(ctx, c, "Mount it?"); err != nil {
		return err
	}
	if err := target.Mount(plan); err != nil {
		return err
	}
	if !f.json {
		_, err = fmt.Fprintln(c.out, "Done. dockerd can be started with this data-root.")
	}
	return err
}
