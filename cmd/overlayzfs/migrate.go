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
	place
	output
	consent
	from, to, zfsDataset string
	back, undo, finish   bool
	reclaim, leaveConfig bool
	untried              bool
}

// migrateCommand moves images and containers to the plugin, and back.
func migrateCommand(c console) *cobra.Command {
	var f migrateFlags
	command := &cobra.Command{
		Use:   "migrate [flags]",
		Short: "Move images and containers from another storage driver, and back, while dockerd is stopped",
		Long: "Move all images and containers from the storage driver overlay2, zfs, vfs or btrfs to the plugin, which\n" +
			"has to be installed. dockerd has to be stopped.\n\n" +
			"Layers of overlay2 on the dataset that the plugin uses are renamed, and nothing is copied. From elsewhere\n" +
			"each image layer's tar is made again from Docker's record (tar-split) and has to have its digest;\n" +
			"containers' layers come along with their limits. The old ones stay.\n\n" +
			"Interrupted at any point it goes on when it is run again. --undo goes back to how everything was, until\n" +
			"--finish deletes what that needs. --back moves from the plugin to overlay2 or zfs, later and with what is\nnew.",
		Example: "  overlayzfs migrate --dry-run\n" +
			"  overlayzfs migrate --from zfs --yes\n" +
			"  overlayzfs migrate --undo\n" +
			"  overlayzfs migrate --finish --yes\n" +
			"  overlayzfs migrate --back",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := errors.Join(f.consent.check(f.output), f.checkActions()); err != nil {
				return err
			}
			if f.dryRun {
				return f.migrate(command.Context(), c)
			}
			return c.changing("migrate", func() error { return f.migrate(command.Context(), c) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	f.consent.flag(command.Flags())
	flags := command.Flags()
	flags.StringVar(&f.from, "from", "", "storage `DRIVER` to come from, if Docker has images under more than one")
	flags.StringVar(&f.zfsDataset, "zfs-dataset", "", "dataset that the driver zfs has its layers below, `POOL/NAME`, if not that of zfs.fsname or of the data-root")
	flags.BoolVar(&f.back, "back", false, "move from the plugin to a driver of Docker's own")
	flags.StringVar(&f.to, "to", "", "with --back: `DRIVER` to go to, zfs or, when nothing is said, overlay2")
	flags.BoolVar(&f.undo, "undo", false, "go back to how everything was before the migration that is not finished")
	flags.BoolVar(&f.finish, "finish", false, "end a migration: delete the old layers, after which it cannot be undone")
	flags.BoolVar(&f.untried, "untried", false, "with --finish: though dockerd has not run with the new layers yet")
	flags.BoolVar(&f.reclaim, "reclaim", false, "delete old layers as soon as they are carried and compared; it cannot be undone then")
	flags.BoolVar(&f.leaveConfig, "leave-config", false, "do not write daemon.json")
	return command
}

// checkActions refuses two things at once.
func (f *migrateFlags) checkActions() error {
	wanted := 0
	for _, flag := range []bool{f.back, f.undo, f.finish, f.from != ""} {
		if flag {
			wanted++
		}
	}
	if wanted > 1 {
		return usagef("--from, --back, --undo and --finish are one at a time")
	}
	if f.zfsDataset != "" && (f.back && f.to != "zfs" || f.from != "" && f.from != "zfs") {
		return usagef("--zfs-dataset means nothing but of the driver zfs: say --from zfs or --back --to zfs with it, or leave it out")
	}
	return nil
}

// migrate plans, shows, asks and does.
func (f *migrateFlags) migrate(ctx context.Context, c console) error {
	f.wanted.New = true
	where, err := f.find()
	if err != nil {
		return err
	}
	plan, err := migrate.MakePlan(f.wish(where))
	if err != nil {
		return err
	}
	if err := f.show(c, plan, where); err != nil || f.dryRun {
		return err
	}
	question, act := f.action(c, plan, storeOf(plan, where))
	if err := f.agree(ctx, c, question); err != nil {
		return err
	}
	if err := act(ctx); err != nil {
		return unfinished(err)
	}
	return f.done(c, plan)
}

// wish is what is asked for, in terms of the place.
func (f *migrateFlags) wish(where host.Location) migrate.Request {
	w := migrate.Request{
		Root: where.Root, Driver: where.Driver, Dataset: where.Dataset, Home: where.Home,
		From: f.from, ZFSDataset: cmp.Or(f.zfsDataset, where.ZFSDataset), Back: f.back, To: f.to, Reclaim: f.reclaim, Action: f.which(),
	}
	if !f.leaveConfig {
		w.Config = where.Config
	}
	return w
}

// which is the action about a migration that was begun.
func (f *migrateFlags) which() migrate.Action {
	switch {
	case f.undo:
		return migrate.ActionUndo
	case f.finish:
		return migrate.ActionFinish
	}
	return migrate.ActionMigrate
}

// show prints what would be done. The error is why it cannot be begun.
func (f *migrateFlags) show(c console, plan *migrate.Plan, where host.Location) error {
	f.requirePlugin(plan, where)
	f.requireUsed(plan)
	if f.json {
		if f.dryRun {
			if err := writeJSON(c.out, plan); err != nil {
				return err
			}
		}
	} else if err := writeMigration(c.out, plan, f.which()); err != nil {
		return err
	}
	if err := plan.CheckObstacles(); err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	return nil
}

// requirePlugin makes sure that dockerd can start with the plugin afterwards.
func (f *migrateFlags) requirePlugin(plan *migrate.Plan, where host.Location) {
	if f.undo || f.finish || f.back {
		return
	}
	switch {
	case where.Plugin == nil:
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("no plugin %q is installed in %s: start dockerd and install it (`docker plugin install`), which README.md shows", where.Driver, where.Root))
	case !where.Plugin.Enabled:
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf("the plugin %s is disabled, and dockerd does not start with it: start dockerd as it is, and run `docker plugin enable %s`", where.Plugin.Name, where.Plugin.Name))
	}
	if where.UsernsRemap {
		plan.Obstacles = append(plan.Obstacles, "daemon.json has userns-remap, under which Docker's plugins cannot be storage drivers")
	}
}

// requireUsed makes sure that datasets and daemon.json, where they were named, are
// those of the plan: one that was begun goes on with its own.
func (f *migrateFlags) requireUsed(plan *migrate.Plan) {
	refuse := func(format string, args ...any) {
		plan.Obstacles = append(plan.Obstacles, fmt.Sprintf(format, args...))
	}
	job := plan.Job
	switch {
	case f.zfsDataset == "" || f.zfsDataset == job.ZFSDataset:
	case job.ZFSDataset == "":
		refuse("--zfs-dataset names %s, and from %s to %s there are no layers of the driver zfs: leave it out", f.zfsDataset, job.From, job.To)
	default:
		refuse("--zfs-dataset names %s, and the migration that was begun has the layers of the driver zfs on %s: leave it out, or go back with --undo", f.zfsDataset, job.ZFSDataset)
	}
	if plan.Resumed && f.which() == migrate.ActionMigrate && f.dataset != "" && f.dataset != job.Dataset {
		refuse("--dataset (%s) names %s, and the migration that was begun has the plugin's layers %s: leave it out, or go back with --undo", datasetEnv, f.dataset, placeOf(job))
	}
	if !plan.Resumed || f.wanted.Config == f.config || job.Config == "" {
		return
	}
	if file, err := filepath.Abs(f.wanted.Config); err != nil || file != job.Config {
		refuse("--config-file names %s, and the migration that was begun changes %s: name that, or say --leave-config", f.wanted.Config, job.Config)
	}
}

// placeOf is where the plugin's layers are, for people.
func placeOf(job migrate.Job) string {
	if job.Dataset == "" {
		return "in the data-root"
	}
	return "on " + job.Dataset
}

// storeOf is the place of the store that the migration is about: of one that was
// begun, what its journal says.
func storeOf(plan *migrate.Plan, where host.Location) host.Location {
	where.Dataset = plan.Job.Dataset
	if where.Dataset == "" {
		where.Home = filepath.Join(plan.Root, plan.Job.Home())
	}
	return where
}

// action is the question, and what is done when it is agreed to.
func (f *migrateFlags) action(c console, plan *migrate.Plan, where host.Location) (string, func(context.Context) error) {
	tools := migrate.Tools{
		Open:        func(ctx context.Context) (migrate.Store, func() error, error) { return openStore(ctx, where) },
		Unused:      func() error { return unusedStore(where) },
		Token:       func() (string, error) { return tokenOf(where) },
		LeaveConfig: f.leaveConfig, Untried: f.untried,
		Progress: c.progress,
	}
	switch f.which() {
	case migrate.ActionUndo:
		return "Go back to the driver " + plan.Job.From + "?", func(ctx context.Context) error { return migrate.Undo(ctx, plan.Root, tools) }
	case migrate.ActionFinish:
		return "Delete what going back would need?", func(ctx context.Context) error { return migrate.Finish(ctx, plan.Root, tools) }
	}
	return "Migrate?", func(ctx context.Context) error { return plan.Run(ctx, tools) }
}

// unfinished gives a migration that stopped half-way its exit code.
func unfinished(err error) error {
	if errors.Is(err, migrate.ErrUnfinished) {
		return fmt.Errorf("%w: %w", err, errUnfinished)
	}
	return err
}

// openStore opens the store that layers are carried to, with nobody's limits and
// snapshots: those are the plugin's.
func openStore(ctx context.Context, where host.Location) (migrate.Store, func() error, error) {
	known, err := overlayzfs.ParseOptions(where.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("the plugin's options: %w", err)
	}
	store, closeStore, err := host.OpenStore(ctx, where, overlayzfs.Options{Quota: known.Quota})
	if err != nil {
		return nil, nil, unused(err)
	}
	return store, closeStore, nil
}

// unusedStore makes sure that nobody has the store open, if there is one.
func unusedStore(where host.Location) error {
	view, err := viewOf(where)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(view.RequireUnused(), view.Close())
}

// tokenOf tells which engine had the store last.
func tokenOf(where host.Location) (string, error) {
	view, err := viewOf(where)
	if errors.Is(err, fault.NotFound) {
		return "", nil // nobody ever had it
	}
	if err != nil {
		return "", err
	}
	engine, err := view.Engine()
	return engine.Token, errors.Join(err, view.Close())
}

// done says what comes next.
func (f *migrateFlags) done(c console, plan *migrate.Plan) error {
	if f.json {
		return writeJSON(c.out, plan)
	}
	var next string
	switch f.which() {
	case migrate.ActionUndo:
		next = fmt.Sprintf("Everything is as it was. dockerd can be started with the driver %s.", plan.Job.From)
	case migrate.ActionFinish:
		next = "The migration is finished."
	default:
		next = fmt.Sprintf("Migrated. dockerd can be started with the driver %s.\n"+
			"When all is well, `overlayzfs migrate --finish` ends it; until then `overlayzfs migrate --undo` goes back.", plan.Job.To)
	}
	_, err := fmt.Fprintln(c.out, next)
	return err
}
