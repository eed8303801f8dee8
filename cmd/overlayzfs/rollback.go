package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// rollbackFlags are those of the rollback command.
type rollbackFlags struct {
	place
	output
	consent
	records string
	allowed snapshot.Options
}

// rollbackCommand goes back to a snapshot.
func rollbackCommand(c console) *cobra.Command {
	var f rollbackFlags
	command := &cobra.Command{
		Use:   "rollback NAME [flags]",
		Short: "Go back to a snapshot, with layers and Docker's records, while dockerd is stopped",
		Long: "Go back to a snapshot that overlayzfs has taken. It says what it will do, asks, and does it.\n\n" +
			"dockerd has to be stopped, and its plugin with it. When it is interrupted, the store is not opened\n" +
			"until the same command was run again.",
		Example: "  overlayzfs rollback overlayzfs-stop-20260824T101500Z-1 --dry-run\n" +
			"  overlayzfs rollback tank/docker@overlayzfs-stop-20260824T101500Z-1 --yes",
		Args: cobra.ExactArgs(1), ValidArgsFunction: f.offerSnapshots,
		RunE: func(command *cobra.Command, args []string) error {
			return f.rollback(command.Context(), c, args[0])
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	f.consent.flag(command.Flags())
	flags := command.Flags()
	flags.StringVar(&f.records, "records", "", "dataset of Docker's data-root, `POOL/NAME`; the snapshot knows it, and has to agree")
	flags.BoolVar(&f.allowed.DestroyNewer, "destroy-newer", false, "destroy newer snapshots, other people's too")
	flags.BoolVar(&f.allowed.LayersOnly, "layers-only", false, "leave Docker's records as they are, though they will not match")
	flags.BoolVar(&f.allowed.AcceptMissing, "accept-missing", false, "go back though datasets of limited containers are gone")
	return command
}

func (f *rollbackFlags) rollback(ctx context.Context, c console, name string) error {
	name, err := f.split(name)
	if err != nil {
		return err
	}
	if err := f.consent.check(f.output); err != nil {
		return err
	}
	return f.with(func(z *zfs.Handle) error {
		if f.dryRun {
			_, err := f.plan(c, z, name)
			return err
		}
		return c.changing("rollback", func() error { return f.goBack(ctx, c, z, name) })
	})
}

// plan thinks the rollback through and prints it; the error is why it cannot be
// begun.
func (f *rollbackFlags) plan(c console, z *zfs.Handle, name string) (*snapshot.Plan, error) {
	plan, err := snapshot.PlanRollback(z, f.dataset, f.records, name, f.allowed)
	if err != nil {
		return nil, err
	}
	if err := f.show(c, plan); err != nil {
		return nil, err
	}
	return plan, plan.Refused()
}

func (f *rollbackFlags) show(c console, plan *snapshot.Plan) error {
	if f.json {
		return writeJSON(c.out, plan)
	}
	_, err := fmt.Fprint(c.out, plan)
	return err
}

func (f *rollbackFlags) goBack(ctx context.Context, c console, z *zfs.Handle, name string) error {
	plan, err := f.plan(c, z, name)
	if err != nil {
		return err
	}
	if err := f.agree(ctx, c, "Go back?"); err != nil {
		return err
	}
	done := c.waiting("going back")
	err = plan.Do(ctx)
	done()
	if err != nil {
		return err
	}
	if !f.json {
		fmt.Fprintln(c.out, "Done. dockerd can be started.")
	}
	return nil
}
