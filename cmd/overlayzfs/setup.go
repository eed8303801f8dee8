package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerd"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// setupFlags are those of the setup command.
type setupFlags struct {
	*storeFlags
	output
	consent
	way     string
	host    string
	sync    string
	options []string

	pluginDir string
	moveRoot  bool
	remove    bool
	undo      bool
	layers    bool
	noRestart bool
	pods      bool
	podsGiven bool
}

// setupCommand prepares a host.
func setupCommand(c console, where *storeFlags) *cobra.Command {
	f := setupFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "setup [POOL/NAME] [flags]",
		Short: "Put Docker or containerd on overlayzfs: datasets, configuration, services",
		Long: "Put Docker or containerd on overlayzfs. Print the steps and what undoes them, ask, and do them. Steps already\n" +
			"done are skipped; it is safe to run setup again.\n\n" +
			"POOL/NAME becomes Docker's data-root, POOL/NAME/layers holds the layers and POOL/NAME/volumes the volumes.\n" +
			"A data-root with content stays where it is, or moves to POOL/NAME with --move-data-root. With --dataset alone only the layers get a dataset.\n\n" +
			"Docker up to 27 gets the plugin. Docker 28 and later, and containerd without Docker, get the snapshotter:\n" +
			"its configuration and service, and a file that containerd's configuration imports. setup changes only its\n" +
			"own keys in daemon.json, keeps a copy of each old file, and makes the driver the storage driver only when it\n" +
			"is there. systemd drop-ins start the services after ZFS. setup restarts containerd and dockerd, and runs a\n" +
			"container as proof; containers of dockerd stop. It does not restart a dockerd that systemd does not run.",
		Example: "  overlayzfs setup tank/docker --dry-run\n" +
			"  overlayzfs setup tank/docker --opt overlayzfs.size=10G\n" +
			"  overlayzfs setup --dataset tank/docker/layers --yes\n" +
			"  overlayzfs setup --undo",
		Args: optionalArg,
		RunE: func(command *cobra.Command, args []string) error {
			f.findConfig()
			f.podsGiven = command.Flags().Changed("pods")
			switch parent := strings.Join(args, ""); {
			case f.remove:
				return f.runRemoval(command.Context(), c, parent)
			case f.undo:
				return f.runUndo(command.Context(), c, parent)
			case f.layers:
				return usagef("--layers means nothing without --remove or --undo: it says what they destroy")
			}
			return f.run(command.Context(), c, strings.Join(args, ""))
		},
	}
	f.output.register(command.Flags())
	f.consent.register(command.Flags())
	flags := command.Flags()
	valueFlag(flags, &f.way, "way", "", "WAY", "", "how Docker reaches the layers: plugin (Docker up to 27) or snapshotter (28 and later) (default: as the running dockerd needs)")
	hostFlag(flags, &f.host, c)
	pluginDirFlag(command, &f.pluginDir)
	flags.BoolVar(&f.moveRoot, "move-data-root", false, "copy the content of the data-root to POOL/NAME and mount it there (dockerd stopped); the old content is kept")
	flags.BoolVar(&f.noRestart, "no-restart", false, "do not restart containerd and dockerd, and run no container")
	flags.BoolVar(&f.pods, "pods", false, "run Kubernetes's pods on the snapshotter, too (default: on a host with a kubelet, or without Docker)")
	flags.BoolVar(&f.undo, "undo", false, "bring this host back to before setup, by setup's log: files as they were, services, datasets that hold nothing")
	flags.BoolVar(&f.remove, "remove", false, "take overlayzfs from this host, without a log: keys of daemon.json, drop-ins, the plugin; images and volumes stay")
	flags.BoolVar(&f.layers, "layers", false, "with --undo or --remove: destroy the layers, too, and so all images and containers; volumes stay")
	valueFlag(flags, &f.sync, "sync", "", "MODE", "", "sync property of the layers' dataset: standard or disabled (default: unchanged)")
	flags.StringArrayVar(&f.options, "opt", nil, "add the storage option `KEY=VALUE` to daemon.json; repeatable")
	return command
}

func (f *setupFlags) run(ctx context.Context, c console, parent string) error {
	wanted, err := f.request(ctx, parent)
	if err != nil {
		return err
	}
	if err := f.checkPrompt(f.output); err != nil {
		return err
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // every write has been answered
	if f.dryRun {
		_, err := f.plan(ctx, c, z, wanted)
		return err
	}
	return c.runLocked("setup", func() error { return f.confirmAndDo(ctx, c, z, wanted) })
}

// request turns the flags into what package host takes.
func (f *setupFlags) request(ctx context.Context, parent string) (w host.Request, err error) {
	if parent == "" && f.dataset == "" {
		return w, usagef("missing argument POOL/NAME; pass it, or --dataset POOL/NAME for the layers alone")
	}
	for _, name := range []string{parent, f.dataset} {
		if name != "" && zfs.CheckDatasetName(name) != nil {
			return w, usageError{zfs.CheckDatasetName(name)}
		}
	}
	if f.moveRoot && parent == "" {
		return w, usagef("--move-data-root needs POOL/NAME, the dataset for the data-root")
	}
	if f.sync != "" && f.sync != "standard" && f.sync != "disabled" {
		return w, usagef("invalid value %q for --sync; want standard or disabled", f.sync)
	}
	config, err := dockerconf.Read(f.configFile())
	if err != nil {
		return w, err
	}
	w = host.Request{
		Parent: parent, Layers: cmp.Or(f.dataset, parent+"/layers"), Root: host.ResolveRoot(cmp.Or(f.wanted.Root, config.DataRoot)), Driver: cmp.Or(f.wanted.Driver, host.PluginDriver(config), host.DefaultDriver),
		Sync: f.sync, Options: f.options, MoveRoot: f.moveRoot, CheckStopped: migrate.RequireStopped,
	}
	w.PluginDir, w.Containerd = cmp.Or(f.pluginDir, doctor.FindPackagedPlugin("")), containerdconf.DefaultFile
	w.SnapshotterConfig, w.Config, w.Host, w.NoRestart = host.SnapshotterConfig, f.configFile(), f.host, f.noRestart
	if f.isDefault() { // another file is another dockerd's, whose unit is not known
		w.Systemd, w.Services = host.SystemdDir, services.Find()
	}
	if w.Program, err = os.Executable(); err != nil {
		return w, err
	}
	if w.Door, err = f.chooseWay(ctx, w.Services); err != nil {
		return w, err
	}
	w.Pods, err = f.choosePods(ctx, w)
	return w, err
}

// isDefault reports whether this is about the dockerd of the host's units.
func (f *setupFlags) isDefault() bool { return f.configFile() == dockerconf.DefaultFile }

// log returns the log of what setup changes on the host. Another dockerd than the host's has none.
func (f *setupFlags) log() *setuplog.Log {
	if !f.isDefault() {
		return nil
	}
	return &setuplog.Log{Path: setuplog.DefaultFile}
}

// choosePods returns --pods, or whether this is a node of Kubernetes.
func (f *setupFlags) choosePods(ctx context.Context, w host.Request) (bool, error) {
	switch {
	case w.Door == host.Plugin && f.pods:
		return false, usagef("--pods means nothing with the plugin: pods run on containerd, and that needs --way snapshotter")
	case f.podsGiven || w.Door == host.Plugin || w.Services == nil:
		return f.pods, nil
	}
	kubelet, err := w.Services.State(ctx, services.Kubelet)
	docker, dockerErr := w.Services.State(ctx, services.Docker)
	if err := errors.Join(err, dockerErr); err != nil || kubelet.Loaded || docker.Loaded {
		return kubelet.Loaded, err
	}
	_, err = askVersion(ctx, f.host) // of a dockerd that is no unit
	return err != nil, nil
}

func (f *setupFlags) configFile() string { return cmp.Or(f.wanted.Config, f.config) }

// chooseWay returns --way, or the way that the running dockerd supports. A host that has only
// containerd takes the snapshotter.
func (f *setupFlags) chooseWay(ctx context.Context, manager *services.Manager) (host.Door, error) {
	switch way := host.Door(f.way); way {
	case host.Plugin, host.Snapshotter:
		return way, nil
	case "":
	default:
		return "", usagef("invalid value %q for --way; want plugin or snapshotter", f.way)
	}
	version, err := askVersion(ctx, f.host)
	if err != nil && manager != nil {
		docker, stateErr := manager.State(ctx, services.Docker)
		if containerd, alsoErr := manager.State(ctx, services.Containerd); errors.Join(stateErr, alsoErr) == nil && !docker.Loaded && containerd.Loaded {
			return host.Snapshotter, nil
		}
	}
	if err != nil {
		return "", usagef("cannot ask dockerd for its version; pass --way plugin for Docker up to 27, --way snapshotter for 28 and later (%w)", err)
	}
	if doctor.HasGraphdriverPlugins(version) {
		return host.Plugin, nil
	}
	return host.Snapshotter, nil
}

// askVersion asks dockerd for its version.
func askVersion(ctx context.Context, address string) (string, error) {
	client, err := dockerd.Connect(address)
	if err != nil {
		return "", err
	}
	info, err := client.AwaitInfo(ctx)
	return info.Version, err
}

// plan makes the plan and prints it.
func (f *setupFlags) plan(ctx context.Context, c console, z *zfs.Handle, w host.Request) (host.Plan, error) {
	facts, err := host.Gather(z, w, f.configFile())
	if err != nil {
		return host.Plan{}, err
	}
	// A host before its first setup has no store.
	if s, err := host.FindStore(host.Overrides{Config: f.configFile(), Root: w.Root, Driver: w.Driver, Dataset: w.Layers}); err == nil {
		facts.Plugin, facts.PluginDataset = s.Plugin, s.PluginDataset()
	}
	facts.Engine = host.FindEngine(ctx, f.host, w.Root)
	if err := facts.GatherServices(ctx, w); err != nil {
		return host.Plan{}, err
	}
	plan, err := host.Decide(facts, w)
	if err != nil {
		return plan, fmt.Errorf("%w: %w", err, errRefused)
	}
	if f.json {
		return plan, writeJSON(c.out, plan)
	}
	return plan, writeSetup(c.out, plan, f.isDefault())
}

// confirmAndDo prints the plan, asks, and does its steps.
func (f *setupFlags) confirmAndDo(ctx context.Context, c console, z *zfs.Handle, w host.Request) error {
	plan, err := f.plan(ctx, c, z, w)
	if err != nil || len(plan.Steps) == 0 {
		return err
	}
	if err := f.confirm(ctx, c, "Do this?"); err != nil {
		return err
	}
	return f.apply(ctx, c, z, plan, f.log())
}

// apply does the steps of a plan.
func (f *setupFlags) apply(ctx context.Context, c console, z *zfs.Handle, plan host.Plan, log *setuplog.Log) error {
	end := c.showSpinner("setting up the host")
	done, err := plan.Apply(ctx, z, log)
	end()
	if err != nil {
		if done > 0 {
			err = fmt.Errorf("%w: %d of %d steps are done: %w", err, done, len(plan.Steps), errUnfinished)
		}
		return err
	}
	if f.json {
		return nil
	}
	fmt.Fprintf(c.out, "Done: %s.\n", count(done, "step"))
	if plan.Proves() {
		fmt.Fprintln(c.out, "Docker runs containers on overlayzfs.")
	}
	return nil
}

// writeSetup prints the steps, how to undo them, and what remains to be done by hand. With a log
// another command undoes them.
func writeSetup(w io.Writer, plan host.Plan, logged bool) error {
	switch {
	case len(plan.Steps) == 0 && plan.Pending:
		fmt.Fprintln(w, "Nothing to do before the next steps are done.")
	case len(plan.Steps) == 0:
		fmt.Fprintln(w, "Nothing to do: everything is set up.")
	}
	for i, step := range plan.Steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, step.Do)
	}
	if undo := plan.UndoCommands(len(plan.Steps)); len(undo) > 0 && logged {
		fmt.Fprintln(w, "\nTo undo this: overlayzfs setup --undo")
	} else if len(undo) > 0 {
		fmt.Fprintf(w, "\nTo undo this, with dockerd stopped:\n  %s\n", strings.Join(undo, "\n  "))
	}
	if len(plan.Remaining) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nNext steps:\n  %s\n", strings.Join(plan.Remaining, "\n  "))
	return err
}
