package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// migrateFlags are those of the migrate command.
type migrateFlags struct {
	*storeFlags
	output
	consent
	from, to, zfsDataset string
	back, undo, finish   bool
	reclaim, leaveConfig bool
	untried              bool
	inPlace              bool
	skip                 []string
	snapshotter          string // its configuration
}

// migrateCommand moves images and containers to the plugin, and back.
func migrateCommand(c console, where *storeFlags) *cobra.Command {
	f := migrateFlags{storeFlags: where, snapshotter: host.SnapshotterConfig}
	command := &cobra.Command{
		Use:   "migrate [flags]",
		Short: "Migrate from another storage driver, and back (dockerd stopped)",
		Long: "Migrate all images and containers from the storage driver overlay2, zfs, vfs or btrfs to the plugin. The\n" +
			"plugin has to be installed, and dockerd stopped.\n\n" +
			"Layers of overlay2 on the plugin's dataset are renamed; nothing is copied. All other layers are copied:\n" +
			"migrate rebuilds the tar of each image layer, verifies its digest, and compares the result with what the old\n" +
			"driver shows. A layer that has no such tar is copied as a tree. Containers keep their limits. The old layers\n" +
			"stay.\n\n" +
			"If the command is interrupted, run it again. --undo restores the old state until --finish deletes it.\n" +
			"--back migrates everything, new images and containers included, from the plugin to overlay2 or zfs.\n\n" +
			"--to snapshotter migrates to containerd's image store on the snapshotter, for Docker 28 and later, from one of\n" +
			"these drivers or from the plugin. containerd and overlayzfs-snapshotter have to run, and dockerd has to be\n" +
			"stopped. Each image gets a new manifest, so that its ID changes.",
		Example: "  overlayzfs migrate --dry-run\n" +
			"  overlayzfs migrate --from zfs --yes\n" +
			"  overlayzfs migrate --to snapshotter\n" +
			"  overlayzfs migrate --undo\n" +
			"  overlayzfs migrate --finish --yes\n" +
			"  overlayzfs migrate --back",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := errors.Join(f.checkPrompt(f.output), f.checkActions()); err != nil {
				return err
			}
			if f.dryRun {
				return f.run(command.Context(), c)
			}
			return c.runLocked("migrate", func() error { return f.run(command.Context(), c) })
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.from, "from", "", "DRIVER", "", "storage driver to migrate from (default: the one with images)")
	valueFlag(flags, &f.zfsDataset, "zfs-dataset", "", "POOL/NAME", "", "parent dataset of the driver zfs (default: zfs.fsname or the data-root's dataset)")
	flags.BoolVar(&f.back, "back", false, "migrate from the plugin to one of Docker's own drivers")
	valueFlag(flags, &f.to, "to", "", "DRIVER", "", `"snapshotter", or with --back a driver, overlay2 or zfs (default "overlay2")`)
	flags.BoolVar(&f.undo, "undo", false, "restore the state before the unfinished migration")
	flags.BoolVar(&f.finish, "finish", false, "finish the migration: delete the old layers; there is no undo after that")
	flags.BoolVar(&f.untried, "untried", false, "with --finish: accept that dockerd has not run with the new layers yet")
	flags.BoolVar(&f.reclaim, "reclaim", false, "delete each old layer once it is copied and verified; there is no undo then")
	flags.StringArrayVar(&f.skip, "skip", nil, "leave `IMAGE` out, on which no container stands (repeatable)")
	flags.BoolVar(&f.inPlace, "in-place", false, "accept that the layers lie in the plugin's directory, which docker plugin rm deletes")
	flags.BoolVar(&f.leaveConfig, "leave-config", false, "do not write daemon.json")
	return command
}

// checkActions refuses flags of different actions.
func (f *migrateFlags) checkActions() error {
	wanted := 0
	for _, flag := range []bool{f.back, f.undo, f.finish, f.from != ""} {
		if flag {
			wanted++
		}
	}
	if wanted > 1 {
		return usagef("--from, --back, --undo and --finish exclude each other")
	}
	if err := f.checkTo(); err != nil {
		return err
	}
	if f.zfsDataset != "" && (f.back && f.to != "zfs" || f.from != "" && f.from != "zfs") {
		return usagef("--zfs-dataset needs --from zfs or --back --to zfs; add it, or leave --zfs-dataset out")
	}
	if len(f.skip) > 0 && (f.undo || f.finish) {
		return usagef("--skip cannot be combined with --undo or --finish")
	}
	return nil
}

// run makes the plan, prints it, asks, and carries it out.
func (f *migrateFlags) run(ctx context.Context, c console) error {
	importing, err := f.isImport()
	if err != nil {
		return err
	}
	if importing {
		return f.runImport(ctx, c)
	}
	f.wanted.New = true
	where, err := f.locate()
	if err != nil {
		return err
	}
	plan, err := migrate.MakePlan(f.request(where))
	if err != nil {
		return err
	}
	f.requirePlugin(plan, where)
	if err := f.show(c, plan); err != nil || f.dryRun {
		return err
	}
	store := locateStore(plan, where)
	return f.act(ctx, c, plan, migrate.Tools{
		Open:   func(ctx context.Context) (migrate.Store, func() error, error) { return openStore(ctx, store) },
		Unused: func() error { return checkUnused(store) },
		Token:  func() (string, error) { return readToken(store) },
	})
}

// act asks, and carries the plan out.
func (f *migrateFlags) act(ctx context.Context, c console, plan *migrate.Plan, tools migrate.Tools) error {
	question, act := f.prepareAction(c, plan, tools)
	if err := f.confirm(ctx, c, question); err != nil {
		return err
	}
	if err := act(ctx); err != nil {
		return markUnfinished(err)
	}
	return f.report(c, plan)
}

// request turns the flags into what package migrate takes.
func (f *migrateFlags) request(where host.Location) migrate.Request {
	w := migrate.Request{
		Root: where.Root, Driver: where.Driver, Dataset: where.Dataset, Home: where.Home,
		From: f.from, ZFSDataset: cmp.Or(f.zfsDataset, where.ZFSDataset), Back: f.back, To: f.to, Reclaim: f.reclaim, Skip: f.skip, Action: f.action(),
	}
	if w.ReadConfig, w.PluginOptions = where.Config, where.Options; !f.leaveConfig {
		w.Config = where.Config
	}
	return w
}

// action is what the flags say to do with a migration.
func (f *migrateFlags) action() migrate.Action {
	switch {
	case f.undo:
		return migrate.ActionUndo
	case f.finish:
		return migrate.ActionFinish
	}
	return migrate.ActionMigrate
}

// show prints the plan. It fails with the reason why the migration cannot begin.
func (f *migrateFlags) show(c console, plan *migrate.Plan) error {
	f.requireSameNames(plan)
	if f.json {
		if f.dryRun {
			if err := writeJSON(c.out, plan); err != nil {
				return err
			}
		}
	} else if err := writeMigration(c.out, plan, f.action()); err != nil {
		return err
	}
	if err := plan.CheckObstacles(); err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	return nil
}

// requirePlugin adds the obstacles that would keep dockerd from starting with the
// plugin after the migration.
func (f *migrateFlags) requirePlugin(plan *migrate.Plan, where host.Location) {
	if f.undo || f.finish || f.back {
		return
	}
	switch {
	case where.Plugin == nil:
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("no plugin %q is installed in %s: start dockerd and install it (`docker plugin install`), as docs/quickstart-plugin.md shows", where.Driver, where.Root))
	case !where.Plugin.Enabled:
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("the plugin %s is disabled, so that dockerd cannot start with it: start dockerd as it is, and run `docker plugin enable %s`", where.Plugin.Name, where.Plugin.Name))
	}
	configured := where.ConfiguredDataset()
	if where.Plugin != nil && configured != where.Dataset && !plan.Resumed {
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("the plugin is set to keep its layers %s, and --dataset or %s names %s: dockerd would find no image; leave that out, or start dockerd and set the plugin's OVERLAYZFS_OPTS to overlayzfs.dataset=%s",
			describeStore(migrate.Job{Dataset: configured}), datasetEnv, where.Dataset, where.Dataset))
	}
	if where.Plugin != nil && where.Dataset == "" && configured == "" && !plan.Resumed && !f.inPlace {
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("the plugin keeps its layers in its own directory, which `docker plugin rm` deletes: start dockerd and set the plugin's OVERLAYZFS_OPTS to overlayzfs.dataset=POOL/NAME, or accept that with --in-place (%s)", where.Home))
	}
	if where.UsernsRemap {
		plan.Obstacles = append(plan.Obstacles, "daemon.json has userns-remap, which does not work with a plugin as storage driver: remove it")
	}
}

// requireSameNames adds an obstacle for each dataset or daemon.json that a flag names
// and the plan does not use. A migration that is resumed uses those of its journal.
func (f *migrateFlags) requireSameNames(plan *migrate.Plan) {
	refuse := func(format string, args ...any) {
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf(format, args...))
	}
	job := plan.Job
	switch {
	case f.zfsDataset == "" || f.zfsDataset == job.ZFSDataset:
	case job.ZFSDataset == "":
		refuse("--zfs-dataset names %s, but a migration from %s to %s has no layers of the driver zfs: leave it out", f.zfsDataset, job.From, job.To)
	default:
		refuse("--zfs-dataset names %s, but the migration that was begun has the layers of the driver zfs on %s: leave it out, or restore the old state with --undo", f.zfsDataset, job.ZFSDataset)
	}
	if plan.Resumed && f.action() == migrate.ActionMigrate && f.dataset != "" && f.dataset != job.Dataset {
		refuse("--dataset (%s) names %s, but the migration that was begun has the plugin's layers %s: leave it out, or restore the old state with --undo", datasetEnv, f.dataset, describeStore(job))
	}
	if !plan.Resumed || f.wanted.Config == f.config || job.Config == "" {
		return
	}
	if file, err := filepath.Abs(f.wanted.Config); err != nil || file != job.Config {
		refuse("--config-file names %s, but the migration that was begun changes %s: name that, or pass --leave-config", f.wanted.Config, job.Config)
	}
}

// describeStore says in words where the plugin's layers are.
func describeStore(job migrate.Job) string {
	if job.Dataset == "" {
		return "in the data-root"
	}
	return "on " + job.Dataset
}

// locateStore returns where the plan's store is. A migration that is resumed has it in
// its journal.
func locateStore(plan *migrate.Plan, where host.Location) host.Location {
	where.Dataset = plan.Job.Dataset
	if where.Dataset == "" {
		where.Home = filepath.Join(plan.Root, plan.Job.Home())
	}
	return where
}

// prepareAction returns the question, and what to do when the answer is yes.
func (f *migrateFlags) prepareAction(c console, plan *migrate.Plan, tools migrate.Tools) (string, func(context.Context) error) {
	tools.LeaveConfig, tools.Untried, tools.Progress = f.leaveConfig, f.untried, c.showProgress
	tools.Note = func(text string) {
		plan.Notes = append(plan.Notes, text)
		if !f.json {
			fmt.Fprintln(c.out, "Note:", text)
		}
	}
	switch f.action() {
	case migrate.ActionUndo:
		return "Go back to " + oldDriver(plan.Job) + "?", func(ctx context.Context) error { return migrate.Undo(ctx, plan.Root, tools) }
	case migrate.ActionFinish:
		return "Delete the old layers, which --undo needs?", func(ctx context.Context) error { return migrate.Finish(ctx, plan.Root, tools) }
	}
	return "Migrate?", func(ctx context.Context) error { return plan.Run(ctx, tools) }
}

// markUnfinished gives a migration that stopped half-way its exit code.
func markUnfinished(err error) error {
	if errors.Is(err, migrate.ErrUnfinished) {
		return fmt.Errorf("%w: %w", err, errUnfinished)
	}
	return err
}

// openStore opens the store that layers are copied to. It sets no default limits and
// takes no snapshots: the plugin does.
func openStore(ctx context.Context, where host.Location) (migrate.Store, func() error, error) {
	known, err := overlayzfs.ParseOptions(where.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("the plugin's options: %w", err)
	}
	store, closeStore, err := host.OpenStore(ctx, where, overlayzfs.Options{Quota: known.Quota})
	if err != nil {
		return nil, nil, refuseBusy(err)
	}
	return store, closeStore, nil
}

// checkUnused fails with fault.Busy if a process has the store open. A missing store is
// unused.
func checkUnused(where host.Location) error {
	view, err := where.OpenView()
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(view.RequireUnused(), view.Close())
}

// readToken returns the token of the engine that used the store last, "" if none did.
func readToken(where host.Location) (string, error) {
	view, err := where.OpenView()
	if errors.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	engine, err := view.Engine()
	return engine.Token, errors.Join(err, view.Close())
}

// report prints the result and what to do next.
func (f *migrateFlags) report(c console, plan *migrate.Plan) error {
	if f.json {
		return writeJSON(c.out, plan)
	}
	var next string
	switch f.action() {
	case migrate.ActionUndo:
		next = fmt.Sprintf("Restored the old state. dockerd can be started with %s.", oldDriver(plan.Job))
	case migrate.ActionFinish:
		next = "Finished the migration."
	default:
		next = fmt.Sprintf("Migrated. dockerd can be started with %s.\n"+
			"If all is well, run `overlayzfs migrate --finish`; until then `overlayzfs migrate --undo` restores the old state.", newDriver(plan.Job))
		if plan.Job.Dataset == "" && !f.back && plan.Job.Method != migrate.Import {
			next += "\nThe layers lie in the plugin's directory: `docker plugin rm` would delete them. `overlayzfs plugin upgrade` does not."
		}
	}
	_, err := fmt.Fprintln(c.out, next)
	return err
}
