package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// destroyFlags are those of the command that destroys snapshots.
type destroyFlags struct {
	*storeFlags
	output
	consent
}

// destroyCommand destroys snapshots.
func destroyCommand(c console, where *storeFlags) *cobra.Command {
	f := destroyFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "destroy NAME... [flags]",
		Short: "Destroy snapshots that overlayzfs has taken",
		Long: "Destroy snapshots on each dataset that has them. Print them first, and ask. A snapshot of another program,\n" +
			"and one that a hold or a clone keeps, is refused. dockerd may run: the datasets of removed limited\n" +
			"containers that only these snapshots have go within a minute, else at the plugin's next start.",
		Example: "  overlayzfs snapshots destroy overlayzfs-manual-20260824T101500Z-1 --yes\n" +
			"  overlayzfs snapshots -Hp -o name,event | awk '$2 == \"manual\" {print $1}' | xargs -r overlayzfs snapshots destroy --yes",
		Args:              someArgs,
		ValidArgsFunction: f.offerOtherSnapshots,
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.checkPrompt(f.output); err != nil {
				return err
			}
			names, err := f.splitSnapshots(args)
			if err != nil {
				return err
			}
			return f.openZFS(func(z *zfs.Handle) error {
				if f.dryRun {
					_, err := f.choose(c, z, names)
					return err
				}
				return c.runLocked("snapshots destroy", func() error { return f.destroy(command.Context(), c, z, names) })
			})
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	return command
}

// splitSnapshots is splitSnapshot for several names.
func (f *destroyFlags) splitSnapshots(args []string) (names []string, err error) {
	for _, arg := range args {
		name, err := f.splitSnapshot(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// choose finds the snapshots, prints them, and refuses those that have to stay.
func (f *destroyFlags) choose(c console, z *zfs.Handle, names []string) (chosen []snapshot.Info, err error) {
	all, err := snapshot.List(z, f.dataset)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(s snapshot.Info) bool { return s.Name == name })
		if i < 0 {
			return nil, fault.New(fault.NotFound, "overlayzfs has taken no snapshot %q of %s; `overlayzfs snapshots` lists them", name, f.dataset)
		}
		if !slices.ContainsFunc(chosen, func(s snapshot.Info) bool { return s.Name == name }) {
			chosen = append(chosen, all[i])
		}
	}
	if err := f.writeChosen(c.out, chosen); err != nil {
		return nil, err
	}
	return chosen, f.requireUnneeded(z, chosen)
}

// requireUnneeded refuses snapshots that a hold, a clone or an unfinished rollback needs.
func (f *destroyFlags) requireUnneeded(z *zfs.Handle, chosen []snapshot.Info) error {
	pending, err := snapshot.PendingRollback(z, f.dataset)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		if s.Name == pending {
			return fmt.Errorf("%w: %w", snapshot.UnfinishedError(f.dataset, s.Name), errRefused)
		}
		if by := holdsText(s); by != "-" {
			return fmt.Errorf("snapshot %s is kept by %s; release it first: %w", s.Name, by, errRefused)
		}
	}
	return nil
}

func (f *destroyFlags) destroy(ctx context.Context, c console, z *zfs.Handle, names []string) error {
	chosen, err := f.choose(c, z, names)
	if err != nil {
		return err
	}
	if err := f.confirm(ctx, c, fmt.Sprintf("Destroy %s? No rollback to them is possible then.", count(len(chosen), "snapshot"))); err != nil {
		return err
	}
	for i, s := range chosen {
		if err := snapshot.Destroy(z, f.dataset, s); err != nil {
			return fmt.Errorf("%d of %d snapshots are destroyed: %w", i, len(chosen), err)
		}
	}
	return f.writeDestroyed(c.out, chosen)
}

// writeDestroyed follows the list of what was to be destroyed. JSON has no more than that list.
func (f *destroyFlags) writeDestroyed(w io.Writer, chosen []snapshot.Info) error {
	if f.json {
		return nil
	}
	_, err := fmt.Fprintf(w, "Destroyed %s.\n", count(len(chosen), "snapshot"))
	return err
}

// writeChosen prints what is to be destroyed.
func (f *destroyFlags) writeChosen(w io.Writer, chosen []snapshot.Info) error {
	if f.json {
		return writeJSON(w, chosen)
	}
	return writeSnapshots(w, chosen, tableFlags{})
}
