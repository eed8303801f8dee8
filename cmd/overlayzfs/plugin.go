package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/upgrade"
)

// pluginFlags are those of the plugin commands.
type pluginFlags struct {
	*storeFlags
	output
	consent
	host string
	dir  string
}

// pluginCommand has the commands for the managed plugin itself.
func pluginCommand(c console, where *storeFlags) *cobra.Command {
	command := &cobra.Command{
		Use:     "plugin",
		Short:   "Upgrade, enable or publish the managed plugin",
		Long:    "Upgrade the managed plugin to another version, enable it while dockerd does not start, or push it to a registry.",
		Example: "  overlayzfs plugin upgrade\n  overlayzfs plugin push docker.io/USER/overlayzfs:0.2.0",
		Args:    noArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	for _, sub := range []*cobra.Command{upgradeCommand(c, where), enableCommand(c, where), pushCommand(c), packCommand(c)} {
		sub.Args, sub.PreRunE = asUsage(sub.Args), refuseIgnored
		command.AddCommand(sub)
	}
	return command
}

// upgradeCommand replaces the plugin's program.
func upgradeCommand(c console, where *storeFlags) *cobra.Command {
	f := pluginFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "upgrade [flags]",
		Short: "Replace the plugin's program, and keep its settings and layers",
		Long: "Replace the program of the managed plugin by the one in a directory, as `docker plugin create` takes it.\n" +
			"Settings and layers stay, also those of a store in place, which `docker plugin rm` would delete.\n\n" +
			"dockerd runs meanwhile, with the plugin as its storage driver or not. Stop all containers first. After an\n" +
			"interruption run the command again, or `overlayzfs plugin enable` if dockerd does not start.",
		Example: "  overlayzfs plugin upgrade\n" +
			"  overlayzfs plugin upgrade --plugin-dir build/plugin --yes",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.upgrade(command.Context(), c) },
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	hostFlag(command.Flags(), &f.host, c)
	pluginDirFlag(command, &f.dir)
	return command
}

// pluginDirFlag defines the flag that names a plugin's directory.
func pluginDirFlag(command *cobra.Command, dir *string) {
	valueFlag(command.Flags(), dir, "plugin-dir", "", "DIR", "", "the plugin, as make plugin leaves it (default: the package's, "+doctor.PackagedPlugin+")")
}

func (f *pluginFlags) upgrade(ctx context.Context, c console) error {
	if err := f.checkPrompt(f.output); err != nil {
		return err
	}
	dir := cmp.Or(f.dir, doctor.FindPackagedPlugin(""))
	if dir == "" {
		return usagef("no package has put a plugin into %s; pass --plugin-dir DIR", doctor.PackagedPlugin)
	}
	client, err := dockerd.Connect(f.host)
	if err != nil {
		return usageError{err}
	}
	if f.dryRun {
		_, err := f.prepare(ctx, c, client, dir)
		return err
	}
	return c.runLocked("plugin upgrade", func() error {
		plan, err := f.prepare(ctx, c, client, dir)
		if err != nil || len(plan.Steps) == 0 {
			return err
		}
		if err := f.confirm(ctx, c, "Upgrade?"); err != nil {
			return err
		}
		end := c.showSpinner("upgrading the plugin")
		err = plan.Run(ctx)
		end()
		if errors.Is(err, upgrade.ErrDisabled) {
			err = fmt.Errorf("%w: %w", err, errUnfinished)
		}
		if err == nil && !f.json {
			fmt.Fprintf(c.out, "Done: plugin %s is %s, and enabled.\n", plan.Plugin, plan.To)
		}
		return err
	})
}

// prepare makes the plan and prints it.
func (f *pluginFlags) prepare(ctx context.Context, c console, client *dockerd.Client, dir string) (upgrade.Plan, error) {
	config, err := dockerconf.Read(cmp.Or(f.wanted.Config, c.config))
	if err != nil {
		return upgrade.Plan{}, err
	}
	driver := host.PluginDriver(config)
	name := cmp.Or(f.wanted.Driver, driver, host.DefaultDriver)
	plan, err := upgrade.Prepare(ctx, client, name, dir, name == driver)
	switch {
	case errors.Is(err, fault.Busy):
		return plan, fmt.Errorf("%w: %w", err, errRefused)
	case err != nil:
		return plan, err
	case f.json:
		return plan, writeJSON(c.out, plan)
	}
	return plan, writeUpgrade(c.out, plan)
}

// writeUpgrade prints the steps.
func writeUpgrade(w io.Writer, plan upgrade.Plan) error {
	if len(plan.Steps) == 0 {
		_, err := fmt.Fprintf(w, "Nothing to do: plugin %s is %s, and enabled.\n", plan.Plugin, plan.To)
		return err
	}
	for i, step := range plan.Steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, step)
	}
	_, err := fmt.Fprintln(w, "Pulls and builds that run now fail.")
	return err
}

// enableCommand enables the plugin in Docker's records.
func enableCommand(c console, where *storeFlags) *cobra.Command {
	f := pluginFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "enable [flags]",
		Short: "Enable the plugin while dockerd is stopped",
		Long: "Enable the managed plugin in Docker's record of it, while dockerd is stopped. A dockerd whose storage driver\n" +
			"is a disabled plugin does not start (\"found but disabled\"), and `docker plugin enable` needs a running one.",
		Example: "  systemctl stop docker.socket docker; overlayzfs plugin enable; systemctl start docker",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.runLocked("plugin enable", func() error { return f.enable(c) })
		},
	}
	return command
}

func (f *pluginFlags) enable(c console) (err error) {
	s, err := f.locate()
	if err != nil {
		return err
	}
	if s.Plugin == nil {
		return fault.New(fault.NotFound, "there is no plugin %q in %s: name Docker's data-root with --root, or the plugin with --driver", s.Driver, s.Root)
	}
	docker, err := dockerstore.Open(s.Root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	lock, err := docker.LockDockerd()
	if err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	changed, err := upgrade.Enable(s.Root, *s.Plugin)
	if err != nil {
		return err
	}
	state := "was enabled already"
	if changed {
		state = "is enabled; dockerd can be started"
	}
	_, err = fmt.Fprintf(c.out, "Plugin %s %s.\n", strings.TrimSuffix(s.Plugin.Name, ":latest"), state)
	return err
}
