package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// setupFlags are those of the setup command.
type setupFlags struct {
	place
	output
	consent
	way     string
	host    string
	sync    string
	options []string
}

// setupCommand prepares a host.
func setupCommand(c console) *cobra.Command {
	var f setupFlags
	command := &cobra.Command{
		Use:   "setup [POOL/NAME] [flags]",
		Short: "Make the datasets with the advised properties, and edit daemon.json",
		Long: "Make the datasets with the advised properties, and edit Docker's daemon.json. Each step is shown first,\n" +
			"with the command that takes it back; it asks, and does it. What is as it should be makes no step, so that\n" +
			"it can be run again.\n\n" +
			"POOL/NAME gets a layout: itself for Docker's data-root, POOL/NAME/layers, POOL/NAME/volumes. A data-root\n" +
			"that has content already stays where it is. With --dataset alone only the layers get a dataset.\n\n" +
			"In daemon.json only the keys that matter are changed; all else stays as it is, and the file of before is\n" +
			"kept. dockerd is not restarted.",
		Example: "  overlayzfs setup tank/docker --dry-run\n" +
			"  overlayzfs setup tank/docker --sync disabled --opt overlayzfs.size=10G\n" +
			"  overlayzfs setup --dataset tank/layers --yes",
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return f.setUp(command.Context(), c, strings.Join(args, ""))
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	f.consent.flag(command.Flags())
	flags := command.Flags()
	flags.StringVar(&f.way, "way", "", "`WAY` in which Docker reaches the layers: plugin (Docker up to 27) or snapshotter (28 and later); that of the dockerd that answers, if not said")
	flags.StringVar(&f.host, "host", cmp.Or(c.getenv("DOCKER_HOST"), defaultHost), "socket of dockerd, `unix://PATH` (DOCKER_HOST)")
	flags.StringVar(&f.sync, "sync", "", "`MODE` of the layers, standard or disabled; as it is if not said")
	flags.StringArrayVar(&f.options, "opt", nil, "a further storage option for daemon.json, `KEY=VALUE`; may be given more than once")
	return command
}

func (f *setupFlags) setUp(ctx context.Context, c console, parent string) error {
	wanted, err := f.wants(ctx, parent)
	if err != nil {
		return err
	}
	if err := f.consent.check(f.output); err != nil {
		return err
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // nothing is written through it any more
	if f.dryRun {
		_, err := f.plan(c, z, wanted)
		return err
	}
	return c.changing("setup", func() error { return f.carryOut(ctx, c, z, wanted) })
}

// wants makes of flags what package host is asked for.
func (f *setupFlags) wants(ctx context.Context, parent string) (w host.Request, err error) {
	if parent == "" && f.dataset == "" {
		return w, usagef("name a dataset: `overlayzfs setup POOL/NAME`, or one for the layers alone with --dataset POOL/NAME")
	}
	for _, name := range []string{parent, f.dataset} {
		if name != "" && zfs.CheckDatasetName(name) != nil {
			return w, usageError{zfs.CheckDatasetName(name)}
		}
	}
	if f.sync != "" && f.sync != "standard" && f.sync != "disabled" {
		return w, usagef("--sync is standard or disabled, and not %s", f.sync)
	}
	config, err := dockerconf.Read(f.configFile())
	if err != nil {
		return w, err
	}
	w = host.Request{
		Parent: parent, Layers: cmp.Or(f.dataset, parent+"/layers"), Root: cmp.Or(f.wanted.Root, config.DataRoot), Driver: cmp.Or(f.wanted.Driver, host.PluginDriver(config), host.DefaultDriver),
		Sync: f.sync, Options: f.options,
	}
	w.Door, err = f.wayIn(ctx)
	return w, err
}

func (f *setupFlags) configFile() string { return cmp.Or(f.wanted.Config, f.config) }

// wayIn is what was said, or what fits the dockerd that answers.
func (f *setupFlags) wayIn(ctx context.Context) (host.Door, error) {
	switch way := host.Door(f.way); way {
	case host.Plugin, host.Snapshotter:
		return way, nil
	case "":
	default:
		return "", usagef("--way is plugin or snapshotter, and not %s", f.way)
	}
	engine, err := askEngine(ctx, f.host)
	if err != nil {
		return "", usagef("dockerd does not answer, so its version is not known: say --way plugin for Docker up to 27, --way snapshotter for 28 and later (%w)", err)
	}
	if doctor.HasGraphdriverPlugins(engine.Version) {
		return host.Plugin, nil
	}
	return host.Snapshotter, nil
}

// plan decides what there is to do, and prints it.
func (f *setupFlags) plan(c console, z *zfs.Handle, w host.Request) (host.Plan, error) {
	facts, err := host.Gather(z, w, f.configFile())
	if err != nil {
		return host.Plan{}, err
	}
	// That no store is found is no error: there is none yet.
	if s, err := host.FindStore(host.Overrides{Config: f.configFile(), Root: w.Root, Driver: w.Driver, Dataset: w.Layers}); err == nil {
		facts.PluginDataset = s.PluginDataset()
	}
	plan, err := host.Decide(facts, w)
	if err != nil {
		return plan, fmt.Errorf("%w: %w", err, errRefused)
	}
	if f.json {
		return plan, writeJSON(c.out, plan)
	}
	return plan, writeSetup(c.out, plan)
}

func (f *setupFlags) carryOut(ctx context.Context, c console, z *zfs.Handle, w host.Request) error {
	plan, err := f.plan(c, z, w)
	if err != nil || len(plan.Steps) == 0 {
		return err
	}
	if err := f.agree(ctx, c, "Do this?"); err != nil {
		return err
	}
	end := c.waiting("preparing the host")
	done, err := plan.Apply(ctx, z)
	end()
	if err != nil {
		if done > 0 {
			err = fmt.Errorf("%w: %d of %d steps are done: %w", err, done, len(plan.Steps), errUnfinished)
		}
		return err
	}
	if !f.json {
		fmt.Fprintf(c.out, "Done: %s.\n", number(done, "step"))
	}
	return nil
}

// writeSetup prints the steps, how to take them back, and what is left to do.
func writeSetup(w io.Writer, plan host.Plan) error {
	if len(plan.Steps) == 0 {
		fmt.Fprintln(w, "Everything is as it should be.")
	}
	for i, step := range plan.Steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, step.Do)
	}
	if undo := plan.UndoCommands(len(plan.Steps)); len(undo) > 0 {
		fmt.Fprintf(w, "\nTo take it back, with dockerd stopped:\n  %s\n", strings.Join(undo, "\n  "))
	}
	_, err := fmt.Fprintf(w, "\nWhat is left to do:\n  %s\n", strings.Join(plan.Remaining, "\n  "))
	return err
}
