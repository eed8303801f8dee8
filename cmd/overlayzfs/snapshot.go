package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

const withoutRecords = "It holds layers only. Name the dataset of Docker's data-root with --records, and a rollback brings Docker's records back, too."

// snapshotCommand takes a snapshot by hand.
func snapshotCommand(c console) *cobra.Command {
	var p place
	var records string
	command := &cobra.Command{
		Use:   "snapshot [flags]",
		Short: "Take a snapshot now, which stays until it is destroyed by hand",
		Long: "Take a snapshot of the layers, of limited containers, and of Docker's data-root if --records\n" +
			"names its dataset, all of one moment; print its name. dockerd may run.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return p.with(func(z *zfs.Handle) error {
				name, err := snapshot.TakeManually(command.Context(), z, p.dataset, records)
				if err != nil {
					return err
				}
				if records == "" {
					fmt.Fprintln(c.err, withoutRecords)
				}
				fmt.Fprintln(c.out, name)
				return nil
			})
		},
	}
	p.flag(command.Flags(), c)
	command.Flags().StringVar(&records, "records", "", "dataset of Docker's data-root, POOL/NAME, on the same pool")
	return command
}
