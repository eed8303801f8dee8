package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/gc"
	"github.com/overlayzfs/overlayzfs/internal/inventory"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/site"
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
				_, err := f.plan(c)
				return err
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

// plan decides what goes and prints it, with the store claimed: nobody makes a
// layer meanwhile.
func (f *gcFlags) plan(c console) (plan gc.Plan, err error) {
	err = f.look(func(s *shelf) error {
		if err := s.view.Claim(); err != nil {
			return unused(err)
		}
		if plan, err = f.decide(s); err != nil {
			return err
		}
		if f.json {
			err = writeJSON(c.out, plan)
		} else {
			err = writePlan(c.out, plan)
		}
		if err == nil && len(plan.Obstacles) > 0 {
			err = fmt.Errorf("these records do not allow it: %w", errRefused)
		}
		return err
	})
	return plan, err
}

// unused makes a store that somebody has open a refusal.
func unused(err error) error {
	if errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: stop dockerd first, which may be making layers: %w", err, errRefused)
	}
	return err
}

func (f *gcFlags) decide(s *shelf) (gc.Plan, error) {
	inv, err := s.inventory()
	if err != nil {
		return gc.Plan{}, err
	}
	evidence, err := s.evidence()
	if err != nil {
		return gc.Plan{}, err
	}
	evidence.OnlyRoot = f.onlyRoot
	plan := gc.Decide(inv, evidence)
	mounted, err := mountedNow(plan.Layers)
	plan.Obstacles = append(plan.Obstacles, mounted...)
	return plan, err
}

// mountedNow says which of these layers somebody has mounted, though nobody has
// the store open: a container that outlived dockerd and its plugin.
func mountedNow(layers []inventory.Layer) (why []string, err error) {
	mounts, err := mount.Below("/")
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		for _, m := range mounts {
			if strings.HasSuffix(m.Mountpoint, "/"+l.ID+"/merged") {
				why = append(why, fmt.Sprintf("layer %s is mounted on %s: stop what uses it, and unmount it", inventory.Short(l.ID), m.Mountpoint))
			}
		}
	}
	return why, nil
}

// evidence is all that Docker has recorded, under whichever driver, and whose
// records these are.
func (s *shelf) evidence() (gc.Evidence, error) {
	e := gc.Evidence{Root: s.docker.Dir(), Driver: s.site.Driver, Records: []*dockerstore.Records{s.records}}
	var err error
	if e.Engine, err = s.view.Engine(); err != nil {
		return e, err
	}
	if e.Tokens, err = s.tokens(); err != nil {
		return e, err
	}
	drivers, err := s.docker.Drivers()
	if err != nil {
		e.Unread = strings.Split(err.Error(), "\n") // joined
	}
	for _, driver := range drivers {
		if driver == s.site.Driver {
			continue
		}
		records, err := s.docker.Read(driver)
		if err != nil {
			return e, err
		}
		e.Records = append(e.Records, records)
	}
	return e, nil
}

// tokens are those that the plugin keeps in the data-root; none where it has kept
// nothing.
func (s *shelf) tokens() ([]string, error) {
	if s.site.Plugin == nil {
		return nil, nil
	}
	raw, err := s.docker.Kept(*s.site.Plugin, plugin.StateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return plugin.Tokens(raw), err
}

func writePlan(w io.Writer, plan gc.Plan) error {
	if len(plan.Layers) > 0 {
		if err := writeLayers(w, plan.Layers, true); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "By its records of driver %s in %s, Docker does not know %s on %s; %d stay.\n",
		plan.Driver, plan.Root, number(len(plan.Layers), "layer"), plan.Dataset, plan.Kept)
	for _, why := range plan.Obstacles {
		fmt.Fprintln(w, "  but", why)
	}
	return err
}

// collect shows, asks and removes.
func (f *gcFlags) collect(ctx context.Context, c console) error {
	agreed, err := f.plan(c)
	if err != nil || len(agreed.Layers) == 0 {
		return err
	}
	if err := f.agree(ctx, c, fmt.Sprintf("Remove what driver %s in %s does not know?", agreed.Driver, agreed.Root)); err != nil {
		return err
	}
	where, err := f.find()
	if err != nil {
		return err
	}
	removed, err := f.opened(ctx, where, func(store *overlayzfs.Driver) (int, error) { return f.remove(ctx, c, store, agreed) })
	if err != nil && removed > 0 {
		err = fmt.Errorf("%d of %d layers are removed: %w: %w", removed, len(agreed.Layers), err, errUnfinished)
	}
	if err == nil && !f.json {
		fmt.Fprintf(c.out, "Removed %s.\n", number(removed, "layer"))
	}
	return err
}

// opened opens the store as the plugin would, which puts in order what an
// earlier process left. It fails while somebody else has it open.
func (f *gcFlags) opened(ctx context.Context, where site.Site, run func(*overlayzfs.Driver) (int, error)) (n int, err error) {
	options, err := plugin.StoreOptions(nil)
	if err != nil {
		return 0, err
	}
	home := where.Home
	if where.Dataset != "" {
		if home, err = os.MkdirTemp("/run", "overlayzfs-gc-"); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.Remove(home)) }()
		options.Dataset = where.Dataset
	}
	store, err := overlayzfs.Open(ctx, home, options)
	if err != nil {
		return 0, unused(err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return run(store)
}

// remove removes what was agreed to and is still nobody's: Docker may have
// started and stopped while the question was being thought about.
func (f *gcFlags) remove(ctx context.Context, c console, store *overlayzfs.Driver, agreed gc.Plan) (removed int, err error) {
	var plan gc.Plan
	err = f.look(func(s *shelf) (err error) {
		plan, err = f.decide(s)
		return err
	})
	if err == nil && len(plan.Obstacles) > 0 {
		err = fmt.Errorf("%s: %w", plan.Obstacles[0], errRefused)
	}
	if err != nil {
		return 0, err
	}
	doomed := plan.Both(agreed).Layers
	step, done := c.progress("removing layers", int64(len(doomed)))
	defer done()
	for _, l := range doomed {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		if err := store.Remove(ctx, l.ID); err != nil {
			return removed, fmt.Errorf("layer %s: %w", inventory.Short(l.ID), err)
		}
		removed++
		step(1)
	}
	if f.onlyRoot {
		if err := store.Settle(); err != nil {
			return removed, err
		}
	}
	return removed, store.Reaped(ctx)
}
