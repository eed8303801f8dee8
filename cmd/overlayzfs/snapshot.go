package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// layersOnlyHint follows a snapshot without Docker's records.
const layersOnlyHint = "The snapshot has layers only. With --records and the dataset of Docker's data-root, a rollback restores Docker's records, too."

// snapshotFlags are those of the snapshot command.
type snapshotFlags struct {
	*storeFlags
	output
	records string
	dryRun  bool
}

// snapshotReport is what snapshot prints.
type snapshotReport struct {
	Name    string `json:"name,omitempty"` // absent on a dry run
	Dataset string `json:"dataset"`
	Records string `json:"records,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// snapshotCommand takes a snapshot.
func snapshotCommand(c console, where *storeFlags) *cobra.Command {
	f := snapshotFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "snapshot [flags]",
		Short: "Take a snapshot, which retention does not destroy",
		Long: "Take an atomic snapshot of the layers, of limited containers and, with --records, of Docker's data-root.\n" +
			"Print its name. It stays until `overlayzfs snapshots destroy NAME`. dockerd may run.",
		Example: "  overlayzfs snapshot --records tank/docker\n" +
			"  before=$(overlayzfs snapshot --records tank/docker)",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.openZFS(func(z *zfs.Handle) error { return f.takeSnapshot(command.Context(), c, z) })
		},
	}
	f.output.register(command.Flags())
	valueFlag(command.Flags(), &f.records, "records", "", "POOL/NAME", "", "dataset of Docker's data-root, on the same pool")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, dryRunUsage)
	return command
}

func (f *snapshotFlags) takeSnapshot(ctx context.Context, c console, z *zfs.Handle) (err error) {
	r := snapshotReport{Dataset: f.dataset, Records: f.records, DryRun: f.dryRun}
	if f.dryRun {
		return f.preview(c, z, r)
	}
	if err := c.runLocked("snapshot", func() error {
		r.Name, err = snapshot.TakeManually(ctx, z, f.dataset, f.records, nil)
		return err
	}); err != nil {
		return err
	}
	return f.report(c, r)
}

// preview checks that the datasets exist, and reports what a snapshot would contain.
func (f *snapshotFlags) preview(c console, z *zfs.Handle, r snapshotReport) error {
	for _, dataset := range []string{f.dataset, f.records} {
		if dataset == "" {
			continue
		}
		if _, err := z.DatasetStats(dataset); err != nil {
			return err
		}
	}
	return f.report(c, r)
}

// report prints the name alone on standard output, so that a script can use it.
func (f *snapshotFlags) report(c console, r snapshotReport) error {
	switch {
	case f.json:
		return writeJSON(c.out, r)
	case r.DryRun:
		_, err := fmt.Fprintln(c.out, "Would take a snapshot of "+r.describe()+".")
		return err
	case r.Records == "":
		fmt.Fprintln(c.err, layersOnlyHint)
	}
	_, err := fmt.Fprintln(c.out, r.Name)
	return err
}

// describe returns the content of the snapshot in words.
func (r snapshotReport) describe() string {
	text := "the layers on " + r.Dataset + ", limited containers included"
	if r.Records != "" {
		text += ", and Docker's records on " + r.Records
	}
	return text
}
