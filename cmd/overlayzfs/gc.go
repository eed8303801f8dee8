package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
	"github.com/overlayzfs/overlayzfs/quota"
)

// gcFlags are those of the gc command.
type gcFlags struct {
	*storeFlags
	output
	consent
	onlyRoot bool
}

// gcCommand removes layers that Docker does not know.
func gcCommand(c console, where *storeFlags) *cobra.Command {
	f := gcFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "gc [flags]",
		Short: "Remove layers that the engine does not know (engine stopped)",
		Long: "Remove orphaned layers: those that neither a record of the engine nor a recorded layer refers to. Crashes\n" +
			"and lost records leave them. Print them first.\n\n" +
			"dockerd has to be stopped, because it creates layers before it records them. gc removes nothing if a\n" +
			"record is unreadable or missing, if the records do not match the store, or if another engine used the\n" +
			"store last. Only snapshots still have the removed layers. If gc is interrupted, run it again.\n\n" +
			"Of a snapshotter's store gc removes the snapshots that containerd does not know. containerd and\n" +
			"overlayzfs-snapshotter have to be stopped.\n\n" +
			"gc also destroys the datasets of removed limited containers that no snapshot needs any more.",
		Example: "  overlayzfs gc --dry-run\n" +
			"  overlayzfs gc --yes",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.checkPrompt(f.output); err != nil {
				return err
			}
			if f.dryRun {
				return f.preview(c)
			}
			return c.runLocked("gc", func() error { return f.collect(command.Context(), c) })
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	f.consent.register(command.Flags())
	command.Flags().BoolVar(&f.onlyRoot, "only-root", false, "declare that no other data-root has layers in this store, if several engines or plugins have used it")
	return command
}

// preview prints which layers would be removed.
func (f *gcFlags) preview(c console) error {
	plan, err := f.plan()
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(c.out, plan)
	} else {
		err = writePlan(c.out, plan)
	}
	return errors.Join(err, checkObstacles(plan))
}

// plan decides what to remove while nobody uses the store. It does not lock the store:
// an engine may start now, and removeLayers decides again.
func (f *gcFlags) plan() (plan gc.Plan, err error) {
	err = f.readStore(func(s *inventory.Source) error {
		if err := requireStopped(s); err != nil {
			return err
		}
		plan, err = gc.Examine(s, f.onlyRoot)
		return err
	})
	return plan, err
}

// checkObstacles refuses a plan that has obstacles.
func checkObstacles(plan gc.Plan) error {
	if len(plan.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("gc: %s's records do not allow it: %w", plan.Engine, errRefused)
}

// requireStopped refuses to go on while the engine runs.
func requireStopped(s *inventory.Source) error {
	if err := s.View.RequireUnused(); err != nil || s.Root == nil {
		return refuseRunning(s, err)
	}
	lock, err := s.Root.Lock()
	if err != nil {
		return refuseRunning(s, err)
	}
	return lock.Close()
}

// refuseRunning is refuseBusy for either door.
func refuseRunning(s *inventory.Source, err error) error {
	if s.Docker == nil && errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: stop containerd and overlayzfs-snapshotter first, which may be making layers: %w", err, errRefused)
	}
	return refuseBusy(err)
}

// refuseBusy makes a refusal of the error of a store that another process has open.
func refuseBusy(err error) error {
	if errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: stop dockerd first, which may be making layers: %w", err, errRefused)
	}
	return err
}

func writePlan(w io.Writer, plan gc.Plan) error {
	if len(plan.Layers) > 0 {
		if err := writeLayers(w, plan.Layers, true, tableFlags{}); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%s's records of %s in %s do not know %s on %s; %d stay.\n",
		plan.Engine, plan.Reader(), plan.Root, count(len(plan.Layers), "layer"), plan.Dataset, plan.Remaining)
	return errors.Join(err, writeObstacles(w, plan.Obstacles))
}

// gcReport is what gc prints as JSON.
type gcReport struct {
	gc.Plan
	Removed []string `json:"removed"`
}

// collect prints the plan, asks, and removes the layers.
func (f *gcFlags) collect(ctx context.Context, c console) (err error) {
	agreed, err := f.plan()
	if err != nil {
		return err
	}
	if !f.json {
		if err := writePlan(c.out, agreed); err != nil {
			return err
		}
	}
	removed, err := f.confirmAndRemove(ctx, c, agreed)
	if err == nil && isEmpty(agreed) {
		err = f.sweepDatasets(ctx, c, agreed.Engine)
	}
	switch {
	case f.json:
		err = errors.Join(err, writeJSON(c.out, gcReport{agreed, nonNil(removed)}))
	case err == nil && len(agreed.Layers) > 0:
		fmt.Fprintf(c.out, "Removed %s.\n", count(len(removed), "layer"))
	}
	return err
}

// confirmAndRemove asks, opens the store, and removes the layers of the plan.
func (f *gcFlags) confirmAndRemove(ctx context.Context, c console, agreed gc.Plan) (removed []string, err error) {
	if err := checkObstacles(agreed); err != nil || isEmpty(agreed) {
		return nil, err
	}
	if err := f.confirm(ctx, c, fmt.Sprintf("Remove the layers that %s in %s does not know?", agreed.Reader(), agreed.Root)); err != nil {
		return nil, err
	}
	if agreed.Engine == containerdEngine {
		return f.removeSnapshots(ctx, c, agreed)
	}
	store, closeStore, err := f.openStore(ctx)
	if err != nil {
		return nil, err
	}
	removed, err = f.removeLayers(ctx, c, store, agreed)
	err = errors.Join(err, closeStore())
	if err != nil && len(removed) > 0 {
		err = fmt.Errorf("%d of %d layers are removed: %w: %w", len(removed), len(agreed.Layers), err, errUnfinished)
	}
	return removed, err
}

// isEmpty reports whether a plan removes nothing.
func isEmpty(plan gc.Plan) bool { return len(plan.Layers)+len(plan.Snapshots) == 0 }

// openBriefly opens the store and closes it.
func (f *gcFlags) openBriefly(ctx context.Context) error {
	_, closeStore, err := f.openStore(ctx)
	if err != nil {
		return err
	}
	return closeStore()
}

// openStore opens the store as the plugin does.
func (f *gcFlags) openStore(ctx context.Context) (store *overlayzfs.Driver, closeStore func() error, err error) {
	where, err := f.locate()
	if err != nil {
		return nil, nil, err
	}
	options, err := plugin.StoreOptions(nil)
	if err != nil {
		return nil, nil, err
	}
	store, closeStore, err = host.OpenStore(ctx, where, options)
	return store, closeStore, refuseBusy(err)
}

// sweepDatasets opens the store if it has datasets of removed containers. Opening it destroys
// those that no snapshot needs any more.
func (f *gcFlags) sweepDatasets(ctx context.Context, c console, engine string) error {
	before, err := f.countRemoved()
	if err != nil || before == 0 {
		return err
	}
	if engine == containerdEngine {
		err = f.openSnapshots(ctx)
	} else {
		err = f.openBriefly(ctx)
	}
	if err != nil {
		return err
	}
	left, err := f.countRemoved()
	if err == nil && !f.json {
		_, err = fmt.Fprintf(c.out, "Destroyed %d of %s of removed containers; snapshots need the others.\n", before-left, count(before, "dataset"))
	}
	return err
}

// countRemoved counts the datasets of removed containers.
func (f *gcFlags) countRemoved() (n int, err error) {
	err = f.readStore(func(s *inventory.Source) error {
		if s.ZFS == nil {
			return nil
		}
		_, removed, err := quota.ListDatasets(s.ZFS, s.Dataset)
		n = len(removed)
		return err
	})
	return n, err
}

// removeLayers decides again and removes the layers that both plans have. Docker may
// have started and stopped while the question waited for its answer.
func (f *gcFlags) removeLayers(ctx context.Context, c console, store *overlayzfs.Driver, agreed gc.Plan) (removed []string, err error) {
	var plan gc.Plan
	err = f.readStore(func(s *inventory.Source) (err error) {
		plan, err = gc.Examine(s, f.onlyRoot)
		return err
	})
	if err == nil {
		err = recheckObstacles(plan)
	}
	if err != nil {
		return nil, err
	}
	layers := plan.Intersect(agreed).Layers
	step, done := c.showProgress("removing layers", int64(len(layers)))
	defer done()
	return gc.Remove(ctx, store, layers, f.onlyRoot, func() { step(1) })
}

// recheckObstacles is checkObstacles once the store is open. Opening it finishes what
// an earlier process left, so that this refusal does not leave everything unchanged.
func recheckObstacles(plan gc.Plan) error {
	if len(plan.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("no layer was removed, but opening the store finished the work of an earlier process; meanwhile %s: %w", plan.Obstacles[0], errUnfinished)
}
