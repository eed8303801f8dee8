package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/volumes"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// rollbackFlags are those of the rollback command.
type rollbackFlags struct {
	*storeFlags
	output
	consent
	allowed   snapshot.Options
	container string
	to        string
	into      string
}

// rollbackCommand rolls a store back to a snapshot.
func rollbackCommand(c console, where *storeFlags) *cobra.Command {
	f := rollbackFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "rollback NAME [flags]",
		Short: "Roll layers and Docker's records back to a snapshot (dockerd stopped)",
		Long: "Roll layers and Docker's records back to a snapshot, of overlayzfs or of another program. Print the plan,\n" +
			"ask, unmount what goes back, roll back, and mount it again. Volumes on a dataset of their own keep their\n" +
			"content.\n\n" +
			"dockerd and its plugin have to be stopped. If the command is interrupted, run it again: until then the\n" +
			"store does not open.",
		Example: "  overlayzfs rollback overlayzfs-stop-20260824T101500Z-1 --dry-run\n" +
			"  overlayzfs rollback tank/docker/layers@overlayzfs-stop-20260824T101500Z-1 --yes\n" +
			"  overlayzfs rollback overlayzfs-stop-20260824T101500Z-1 --container web --to /tmp/web\n" +
			"  overlayzfs rollback overlayzfs-stop-20260824T101500Z-1 --container web --into web-before\n" +
			"  overlayzfs rollback autosnap_2026-08-24_10:00:00_hourly --records tank/docker",
		Args: oneArg, ValidArgsFunction: f.offerSnapshots,
		RunE: func(command *cobra.Command, args []string) error {
			return f.run(command.Context(), c, args[0])
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.allowed.Records, "records", "", "POOL/NAME", "", "dataset of Docker's data-root (default: the one in the snapshot, else that of the data-root)")
	flags.BoolVar(&f.allowed.DestroyNewer, "destroy-newer", false, "destroy newer snapshots and bookmarks, including those of other tools")
	flags.BoolVar(&f.allowed.LayersOnly, "layers-only", false, "leave Docker's records as they are; they may name missing layers")
	flags.BoolVar(&f.allowed.AcceptMissing, "accept-missing", false, "roll back although datasets of limited containers are missing")
	valueFlag(flags, &f.container, "container", "", "NAME", "", "roll back only what this container has written (plugin's store only)")
	f.registerContainerd(flags)
	valueFlag(flags, &f.to, "to", "", "DIR", "", "copy it into this new directory; dockerd may run")
	valueFlag(flags, &f.into, "into", "", "NAME", "", "put it into this stopped container of the same image")
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
	if f.container != "" {
		return f.rollBackContainer(ctx, c, name)
	}
	return f.openZFS(func(z *zfs.Handle) error {
		if f.dryRun {
			_, err := f.plan(c, z, name)
			return err
		}
		return c.runLocked("rollback", func() error { return f.rollBack(ctx, c, z, name) })
	})
}

// rollbackReport is what rollback prints.
type rollbackReport struct {
	*snapshot.Plan
	Volumes volumes.Volumes `json:"volumes"`
}

// plan makes the plan of the rollback and prints it. It fails with the reason why the
// rollback cannot begin.
func (f *rollbackFlags) plan(c console, z *zfs.Handle, name string) (r rollbackReport, err error) {
	f.guessRecords(z, name)
	if r.Plan, err = snapshot.PlanRollback(z, f.dataset, name, f.allowed); err != nil {
		return r, err
	}
	if root := f.mountedRoot(r.Plan); root != "" {
		if r.Volumes, err = volumes.Sort(root, func(dataset string) bool { return slices.Contains(r.RollBack, dataset) }); err != nil {
			return r, err
		}
	}
	if err := f.show(c, r); err != nil {
		return r, err
	}
	if err := r.Refused(); err != nil {
		return r, err
	}
	if r.Resumes != "" { // it was refused or accepted before, and the records may not be mounted now
		return r, nil
	}
	return r, f.requireContainerdGoesBack(func(dataset string) bool { return slices.Contains(r.RollBack, dataset) })
}

// guessRecords takes the dataset that Docker's data-root lies on, where neither the operator
// nor the snapshot names it.
func (f *rollbackFlags) guessRecords(z *zfs.Handle, name string) {
	if f.allowed.Records != "" || f.allowed.LayersOnly || snapshot.NamesRecords(z, f.dataset, name) {
		return
	}
	if to, err := snapshot.PendingRollback(z, f.dataset); to != "" || err != nil {
		return // the first run has noted it
	}
	if where, err := f.locate(); err == nil {
		if dataset, err := zfs.DatasetOf(where.Root); err == nil {
			f.allowed.Records = dataset
		}
	}
}

// mountedRoot returns the data-root, or "" when the records dataset is not mounted.
func (f *rollbackFlags) mountedRoot(plan *snapshot.Plan) string {
	root := ""
	for _, m := range plan.Mounts {
		if m.Source == plan.Records && root == "" {
			root = m.Target
		}
	}
	if where, err := f.locate(); err == nil && root != "" {
		if dataset, err := zfs.DatasetOf(where.Root); err == nil && dataset == plan.Records {
			return where.Root
		}
	}
	return root
}

func (f *rollbackFlags) show(c console, r rollbackReport) error {
	if f.json {
		return writeJSON(c.out, r)
	}
	_, err := fmt.Fprint(c.out, r.Plan)
	writeVolumes(c.out, "Volumes that go back:", r.Volumes.Back)
	writeVolumes(c.out, "Volumes that keep their content:", r.Volumes.Stay)
	return err
}

func writeVolumes(w io.Writer, title string, names []string) {
	if len(names) > 0 {
		fmt.Fprintln(w, title, fault.Printable(strings.Join(names, ", ")))
	}
}

func (f *rollbackFlags) rollBack(ctx context.Context, c console, z *zfs.Handle, name string) error {
	r, err := f.plan(c, z, name)
	if err != nil {
		return err
	}
	if err := f.confirm(ctx, c, "Roll back?"); err != nil {
		return err
	}
	done := c.showSpinner("rolling back")
	err = r.Do(ctx)
	done()
	if err != nil {
		return err
	}
	return f.report(c, r)
}

// report says what went back and what did not. It does not let dockerd be started while a
// dataset that belongs into the data-root is not mounted.
func (f *rollbackFlags) report(c console, r rollbackReport) error {
	missing, err := r.NotMounted()
	if err != nil {
		return err
	}
	if !f.json {
		fmt.Fprintf(c.out, "Went back to %s: %s.\n", r.Name, strings.Join(r.RollBack, ", "))
		if len(r.Kept) > 0 {
			fmt.Fprintf(c.out, "Kept their content: %s.\n", strings.Join(r.Kept, ", "))
		}
		writeVolumes(c.out, "Volumes that went back:", r.Volumes.Back)
		writeVolumes(c.out, "Volumes that kept their content:", r.Volumes.Stay)
		for _, m := range r.Lost {
			fmt.Fprintf(c.out, "Not mounted again, for the directory is not in the snapshot: %s\n", m)
		}
	}
	if len(missing) > 0 {
		return findings{fmt.Sprintf("dataset %s is not mounted on %s: mount it with `zfs mount %s` before dockerd is started",
			missing[0].Source, missing[0].Target, missing[0].Source), exitWarning}
	}
	used, err := f.usesSnapshotter()
	if err != nil || f.json {
		return err
	}
	if used {
		fmt.Fprintln(c.out, "Done. overlayzfs-snapshotter, containerd and dockerd can be started.")
		return nil
	}
	fmt.Fprintln(c.out, "Done. dockerd can be started.")
	return nil
}
