package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

const withoutRecords = "It holds layers only. Name the dataset of Docker's data-root with --records, and a rollback brings Docker's records back, too."

// snapshotFlags are those of the snapshot command.
type snapshotFlags struct {
	place
	output
	records string
	dryRun  bool
}

// taken is a snapshot that was taken, or would be.
type taken struct {
	Name    string `json:"name,omitempty"` // absent on a dry run
	Dataset string `json:"dataset"`
	Records string `json:"records,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// snapshotCommand takes a snapshot by hand.
func snapshotCommand(c console) *cobra.Command {
	var f snapshotFlags
	command := &cobra.Command{
		Use:   "snapshot [flags]",
		Short: "Take a snapshot now, which stays until it is destroyed by hand",
		Long: "Take a snapshot of the layers, of limited containers, and of Docker's data-root if --records\n" +
			"names its dataset, all of one moment; print its name. dockerd may run.",
		Example: "  overlayzfs snapshot --records tank/docker\n" +
			"  overlayzfs rollback \"$(overlayzfs snapshot --records tank/docker)\" --dry-run",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.with(func(z *zfs.Handle) error { return f.take(command.Context(), c, z) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	command.Flags().StringVar(&f.records, "records", "", "dataset of Docker's data-root, `POOL/NAME`, on the same pool")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	return command
}

func (f *snapshotFlags) take(ctx context.Context, c console, z *zfs.Handle) (err error) {
	t := taken{Dataset: f.dataset, Records: f.records, DryRun: f.dryRun}
	if f.dryRun {
		return f.preview(c, z, t)
	}
	if err := c.changing("snapshot", func() error {
		t.Name, err = snapshot.TakeManually(ctx, z, f.dataset, f.records)
		return err
	}); err != nil {
		return err
	}
	return f.report(c, t)
}

// preview makes sure that what would be in the snapshot is there.
func (f *snapshotFlags) preview(c console, z *zfs.Handle, t taken) error {
	for _, dataset := range []string{f.dataset, f.records} {
		if dataset == "" {
			continue
		}
		if _, err := z.DatasetStats(dataset); err != nil {
			return err
		}
	}
	return f.report(c, t)
}

// report says what was taken, or would be. Text is the name alone, for programs.
func (f *snapshotFlags) report(c console, t taken) error {
	switch {
	case f.json:
		return writeJSON(c.out, t)
	case t.DryRun:
		_, err := fmt.Fprintln(c.out, "Would take a snapshot of "+t.what()+".")
		return err
	case t.Records == "":
		fmt.Fprintln(c.err, withoutRecords)
	}
	_, err := fmt.Fprintln(c.out, t.Name)
	return err
}

// what is in it, in words.
func (t taken) what() string {
	what := "the layers on " + t.Dataset + ", limited containers included"
	if t.Records != "" {
		what += ", and Docker's records on " + t.Records
	}
	return what
}
