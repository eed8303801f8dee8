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
	*storeFlags
	output
	consent
	records string
	allowed snapshot.Options
}

// rollbackCommand rolls a store back to a snapshot.
func rollbackCommand(c console, where *storeFlags) *cobra.Command {
	f := rollbackFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "rollback NAME [flags]",
		Short: "Roll layers and Docker's records back to a snapshot (dockerd stopped)",
		Long: "Roll layers and Docker's records back to a snapshot that overlayzfs has taken. Print the plan, ask, and\n" +
			"roll back.\n\n" +
			"dockerd and its plugin have to be stopped. If the command is interrupted, run it again: until then the\n" +
			"store does not open.",
		Example: "  overlayzfs rollback overlayzfs-stop-20260824T101500Z-1 --dry-run\n" +
			"  overlayzfs rollback tank/docker@overlayzfs-stop-20260824T101500Z-1 --yes",
		Args: oneArg, ValidArgsFunction: f.offerSnapshots,
		RunE: func(command *cobra.Command, args []string) error {
			return f.run(command.Context(), c, args[0])
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.records, "records", "", "POOL/NAME", "", "dataset of Docker's data-root; must be the one in the snapshot (default: that one)")
	flags.BoolVar(&f.allowed.DestroyNewer, "destroy-newer", false, "destroy newer snapshots, including those of other tools")
	flags.BoolVar(&f.allowed.LayersOnly, "layers-only", false, "leave Docker's records as they are; they may name missing layers")
	flags.BoolVar(&f.allowed.AcceptMissing, "accept-missing", false, "roll back although datasets of limited containers are missing")
	return command
}

func (f *rollbackFlags) run(ctx context.Context, c console, name string) error {
	name, err := f.splitSnapshot(name)
	if err != nil {
		return err
	}
	if err := f.checkPrompt(f.output); err != nil {
		return err
	}
	return f.openZFS(func(z *zfs.Handle) error {
		if f.dryRun {
			_, err := f.plan(c, z, name)
			return err
		}
		return c.runLocked("rollback", func() error { return f.rollBack(ctx, c, z, name) })
	})
}

// plan makes the plan of the rollback and prints it. It fails with the reason why the
// rollback cannot begin.
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

func (f *rollbackFlags) rollBack(ctx context.Context, c console, z *zfs.Handle, name string) error {
	plan, err := f.plan(c, z, name)
	if err != nil {
		return err
	}
	if err := f.confirm(ctx, c, "Roll back?"); err != nil {
		return err
	}
	done := c.showSpinner("rolling back")
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
