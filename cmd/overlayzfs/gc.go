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
)

// gcFlags are those of the gc command.
type gcFlags struct {
	place
	output
	consent
	onlyRoot bool
}

// gcCommand removes what Docker does not know.
func gcCommand(c console) *cobra.Command {
	var f gcFlags
	command := &cobra.Command{
		Use:   "gc [flags]",
		Short: "Remove layers that Docker does not know, while dockerd is stopped",
		Long: "Remove the layers that no record of Docker names and nothing recorded stands on, such as crashes and\n" +
			"lost records leave. They are shown first.\n\n" +
			"dockerd has to be stopped: it makes layers before it records them. Nothing is removed when a record\n" +
			"cannot be read or is lost, when the records do not fit the store, or when they are not those of the\n" +
			"engine that used the store last. What is deleted is gone, except from snapshots. When it is\n" +
			"interrupted, the rest stays for the next time.",
		Example: "  overlayzfs gc --dry-run\n" +
			"  overlayzfs gc --yes",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.consent.check(f.output); err != nil {
				return err
			}
			if f.dryRun {
				return f.rehearse(c)
			}
			return c.changing("gc", func() error { return f.collect(command.Context(), c) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	f.consent.flag(command.Flags())
	command.Flags().BoolVar(&f.onlyRoot, "only-root", false, "no other data-root has layers here, though more than one engine or plugin was seen")
	return command
}

// rehearse prints what would go.
func (f *gcFlags) rehearse(c console) error {
	plan, err := f.plan()
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(c.out, plan)
	} else {
		err = writePlan(c.out, plan)
	}
	return errors.Join(err, allowed(plan))
}

// plan decides what goes while nobody uses the store. An engine that starts now
// is not kept waiting: what it changes is seen by the second look.
func (f *gcFlags) plan() (plan gc.Plan, err error) {
	err = f.look(func(s *shelf) error {
		if err := s.view.RequireUnused(); err != nil {
			return unused(err)
		}
		plan, err = f.decide(s)
		return err
	})
	return plan, err
}

// allowed refuses a plan that has obstacles.
func allowed(plan gc.Plan) error {
	if len(plan.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("these records do not allow it: %w", errRefused)
}

// unused makes a store that somebody has open a refusal.
func unused(err error) error {
	if errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: stop dockerd first, which may be making layers: %w", err, errRefused)
	}
	return err
}

func writePlan(w io.Writer, plan gc.Plan) error {
	if len(plan.Layers) > 0 {
		if err := writeLayers(w, plan.Layers, true); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "By its records of driver %s in %s, Docker does not know %s on %s; %d stay.\n",
		plan.Driver, plan.Root, number(len(plan.Layers), "layer"), plan.Dataset, plan.Remaining)
	for _, why := range plan.Obstacles {
		fmt.Fprintln(w, "  but", fault.Printable(why))
	}
	return err
}

// outcome is what gc has done, as JSON has it.
type outcome struct {
	gc.Plan
	Removed []string `json:"removed"`
}

// collect shows, asks and removes.
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
	removed, err := f.carryOut(ctx, c, agreed)
	switch {
	case f.json:
		err = errors.Join(err, writeJSON(c.out, outcome{agreed, list(removed)}))
	case err == nil && len(agreed.Layers) > 0:
		fmt.Fprintf(c.out, "Removed %s.\n", number(len(removed), "layer"))
	}
	return err
}

// carryOut removes what is agreed to.
func (f *gcFlags) carryOut(ctx context.Context, c console, agreed gc.Plan) (removed []string, err error) {
	if err := allowed(agreed); err != nil || len(agreed.Layers) == 0 {
		return nil, err
	}
	if err := f.agree(ctx, c, fmt.Sprintf("Remove what driver %s in %s does not know?", agreed.Driver, agreed.Root)); err != nil {
		return nil, err
	}
	where, err := f.find()
	if err != nil {
		return nil, err
	}
	options, err := plugin.StoreOptions(nil)
	if err != nil {
		return nil, err
	}
	store, closeStore, err := host.OpenStore(ctx, where, options)
	if err != nil {
		return nil, unused(err)
	}
	removed, err = f.remove(ctx, c, store, agreed)
	err = errors.Join(err, closeStore())
	if err != nil && len(removed) > 0 {
		err = fmt.Errorf("%d of %d layers are removed: %w: %w", len(removed), len(agreed.Layers), err, errUnfinished)
	}
	return removed, err
}

// remove removes what was agreed to and is still nobody's: Docker may have
// started and stopped while the question was being thought about.
func (f *gcFlags) remove(ctx context.Context, c console, store *overlayzfs.Driver, agreed gc.Plan) (removed []string, err error) {
	var plan gc.Plan
	err = f.look(func(s *shelf) (err error) {
		plan, err = f.decide(s)
		return err
	})
	if err == nil {
		err = stillAllowed(plan)
	}
	if err != nil {
		return nil, err
	}
	doomed := plan.Intersect(agreed).Layers
	step, done := c.progress("removing layers", int64(len(doomed)))
	defer done()
	for _, l := range doomed {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if err := store.Remove(ctx, l.ID); err != nil {
			return removed, fmt.Errorf("layer %s: %w", inventory.ShortID(l.ID), err)
		}
		removed = append(removed, l.ID)
		step(1)
	}
	if f.onlyRoot {
		if err := store.EndDispute(); err != nil {
			return removed, err
		}
	}
	return removed, store.WaitReaper(ctx)
}

// stillAllowed is allowed with the store open, which has put in order what an
// earlier process left.
func stillAllowed(plan gc.Plan) error {
	if len(plan.Obstacles) == 0 {
		return nil
	}
	return fmt.Errorf("no layer was removed, though the store was opened and put in order: meanwhile %s: %w", plan.Obstacles[0], errUnfinished)
}
