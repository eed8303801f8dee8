package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// doctorFlags are those of the doctor command.
type doctorFlags struct {
	*storeFlags
	output
	host   string
	quick  bool
	dryRun bool
	all    bool
	accept []string

	layersDataset string // holds the store: by flag, by configuration, or the data-root's
}

// doctorCommand examines the host.
func doctorCommand(c console, where *storeFlags) *cobra.Command {
	f := doctorFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Check this host, and print remedies",
		Long: "Check kernel, OpenZFS, pool, dataset, memory, Docker's configuration and the store. Each finding has a\n" +
			"severity, a reason and a remedy to copy. doctor tests layers and limits on a scratch dataset below the\n" +
			"store's, and destroys it; --quick leaves the tests out. dockerd may run.\n\n" +
			"The worst finding is the exit code: 0 for ok and notes, 5 for warnings, 6 for broken. Any other code means\n" +
			"that the host was not examined. For monitoring use --quick, and --accept for a warning that is to stay.",
		Example: "  overlayzfs doctor\n" +
			"  overlayzfs doctor --quick --accept \"pool space\"\n" +
			"  overlayzfs doctor --quick --json | jq '.[] | select(.severity == \"broken\") | .remedy'",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.examine(command.Context(), c) },
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	hostFlag(command.Flags(), &f.host, c)
	command.Flags().BoolVar(&f.quick, "quick", false, "create no scratch dataset, and test nothing on it")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "same as --quick")
	command.Flags().StringArrayVar(&f.accept, "accept", nil, "count a warning of `CHECK`, such as \"pool space\", as a note; repeatable")
	command.Flags().BoolVarP(&f.all, "all", "a", false, "show checks that passed, too")
	return command
}

func (f *doctorFlags) examine(ctx context.Context, c console) error {
	facts, err := f.gather(ctx, c)
	if err != nil {
		return err
	}
	found := doctor.Accept(doctor.Examine(facts), f.accept)
	if f.json {
		err = writeJSON(c.out, nonNil(found))
	} else {
		err = writeFindings(c.out, found, f.all)
	}
	if err != nil {
		return err
	}
	switch doctor.Worst(found) {
	case doctor.Broken:
		return findings{"something is broken", exitBroken}
	case doctor.Warning:
		return findings{"something needs attention", exitWarning}
	}
	return nil
}

// gather collects facts. An error on the way to a fact is a fact, too, unless a lack of
// privileges hides what there is.
func (f *doctorFlags) gather(ctx context.Context, c console) (facts doctor.Facts, err error) {
	f.findConfig()
	facts.GatherHost("")
	f.gatherDocker(ctx, c, &facts)
	if errors.Is(facts.Docker.LocationErr, fs.ErrPermission) {
		return facts, facts.Docker.LocationErr
	}
	z, err := zfs.Open()
	facts.Device, facts.DeviceErr = true, err
	if err != nil || facts.Docker.LocationErr != nil {
		return facts, z.Close()
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	facts.GatherDataset(z, f.layersDataset)
	if facts.Stats == nil {
		return facts, nil
	}
	running := c.findHolder()
	facts.Store, facts.Containerd = f.gatherStore(z)
	if facts.Store.Running = cmp.Or(running, c.findHolder()); facts.Store.Running != "" {
		return facts, nil
	}
	if facts.Store.Mounts, err = findLeftMounts(); err != nil {
		return facts, err
	}
	if f.quick || f.dryRun || facts.Stats.ReadOnly() {
		return facts, nil
	}
	err = c.runLocked("doctor", func() error {
		defer c.showSpinner("testing layers and limits")()
		facts.Probe = doctor.RunProbe(ctx, z, f.layersDataset)
		return nil
	})
	switch running := c.findHolder(); {
	case errors.Is(err, errRefused) && running != "": // another command was faster
		facts.Store.Running = running
	case err != nil:
		facts.Probe = &doctor.Probe{Err: err}
	}
	return facts, nil
}

// gatherDocker reads Docker's configuration, and asks dockerd if it runs.
func (f *doctorFlags) gatherDocker(ctx context.Context, c console, facts *doctor.Facts) {
	d := &facts.Docker
	d.Command = buildinfo.Version()
	d.ConfigFile, d.Packaged = cmp.Or(f.wanted.Config, c.config), doctor.FindPackagedPlugin("")
	d.Config, d.ConfigErr = dockerconf.Read(d.ConfigFile)
	if engine, err := doctor.AskEngine(ctx, f.host); err == nil {
		d.Engine = engine
	}
	s, err := f.locateAny(host.SnapshotterConfig)
	d.Driver, d.Plugin = cmp.Or(s.Driver, "overlayzfs"), s.Plugin
	if err != nil {
		d.LocationErr = err
		if !errors.Is(err, fault.NotFound) {
			d.PluginErr = err
		}
		return
	}
	d.Migration, d.MigrationErr = readMigration(s.Root, c)
	_, d.OptionsErr = overlayzfs.ParseOptions(s.Options)
	facts.InPlace, d.Root = s.Dataset == "", s.Root
	if on, err := mount.ListAt(host.ResolveRoot(s.Root)); err == nil && len(on) > 0 {
		facts.RootMounted = on[len(on)-1].FSType == "zfs"
	}
	if d.ConfigFile == dockerconf.DefaultFile {
		d.Units = doctor.GatherUnits("", doctor.BootUnits...)
	}
	if f.layersDataset, err = s.LayersDataset(); err != nil {
		d.LocationErr = err
	}
}

// readMigration returns the unfinished migration of the data-root. It returns nil while
// another command runs, which may be that migration.
func readMigration(root string, c console) (*doctor.Migration, error) {
	job, err := migrate.FindJob(root)
	if job == nil || err != nil || c.isLocked() {
		return nil, err
	}
	return &doctor.Migration{
		From: job.From, To: job.To, Phase: string(job.Phase), Next: job.NextCommand(), Undoable: job.IsUndoable() && job.Phase != migrate.Undoing,
		Done:      job.Phase == migrate.Done,
		Switching: job.Phase == migrate.Switching || job.Phase == migrate.Configuring || job.Phase == migrate.Undoing,
	}, nil
}

// gatherStore examines the store and the leftovers of earlier commands.
func (f *doctorFlags) gatherStore(z *zfs.Handle) (*doctor.Store, *doctor.Containerd) {
	found := &doctor.Store{}
	var containerd *doctor.Containerd
	found.Err = f.readStore(func(s *inventory.Source) (err error) {
		if s.Docker == nil {
			found.Engine = containerdEngine
			if containerd, err = gatherContainerd(s); err != nil {
				return err
			}
		}
		inv, err := s.Inventory()
		if err != nil {
			return err
		}
		countLayers(found, inv)
		found.Removing, err = s.View.CountRemoving()
		return err
	})
	var errs [3]error
	found.Rollback, errs[0] = snapshot.PendingRollback(z, f.layersDataset)
	if found.Rollback != "" && !snapshot.HasRecords(z, f.layersDataset, found.Rollback) {
		found.RollbackFlags = " --layers-only"
	}
	receiving, err := overlayzfs.ReadReceiving(z, f.layersDataset)
	if errs[2] = err; receiving != nil {
		found.Receiving = receiving.To
	}
	found.Scratch, errs[1] = doctor.FindScratch(z, f.layersDataset)
	_, removed, err := quota.ListDatasets(z, f.layersDataset)
	found.Removed = len(removed)
	if err := errors.Join(append(errs[:], err)...); err != nil && found.Err == nil {
		found.Err = err
	}
	return found, containerd
}

// gatherContainerd reads the configuration of containerd and of the snapshotter, and which
// snapshotters containers use. It returns nil where it is not known which file the
// containerd reads.
func gatherContainerd(s *inventory.Source) (c *doctor.Containerd, err error) {
	root := containerdconf.DefaultRoot
	if s.Root != nil {
		root = s.Root.Dir()
	}
	c = &doctor.Containerd{Snapshotter: s.Where.Driver, ConfigFile: containerdconf.FileOf(root)}
	if c.ConfigFile == "" {
		return nil, nil
	}
	c.Config, c.ConfigErr = containerdconf.Read(c.ConfigFile)
	if c.Socket, err = host.SnapshotterSocket(host.SnapshotterConfig); err != nil || s.Root == nil {
		return c, err
	}
	summary, err := s.Root.Summarize()
	c.Modern, c.Containers, c.Pods = summary.IsModern(), summary.Containers, summary.Pods
	return c, err
}

// findLeftMounts returns the directories on which killed commands left a store or a
// scratch dataset mounted.
func findLeftMounts() (left []string, err error) {
	for _, name := range []string{host.HomesPrefix, doctor.ScratchPrefix} {
		dirs, err := filepath.Glob(filepath.Join(host.HomesDir, name+"*"))
		if err != nil {
			return nil, err
		}
		left = append(left, dirs...)
	}
	return left, nil
}

// countLayers counts the layers with something wrong.
func countLayers(found *doctor.Store, inv *inventory.Inventory) {
	found.Missing, found.Warnings = len(inv.Missing), len(inv.Warnings)
	for _, l := range inv.Layers {
		if l.Kind == inventory.Unknown {
			found.Unknown++
		}
		if l.Damaged != "" {
			found.Damaged++
		}
	}
}

// writeFindings prints the findings, each with its remedy, and how many checks passed.
func writeFindings(w io.Writer, found []doctor.Finding, all bool) error {
	passed := 0
	for _, f := range found {
		if f.Severity == doctor.OK {
			passed++
			if !all {
				continue
			}
		}
		fmt.Fprintf(w, "%-8s %s: %s\n", strings.ToUpper(f.Severity.String()), f.Check, f.Found)
		if f.Reason != "" {
			fmt.Fprintf(w, "         %s\n", f.Reason)
		}
		if f.Remedy != "" {
			fmt.Fprintf(w, "         -> %s\n", f.Remedy)
		}
	}
	_, err := fmt.Fprintf(w, "%s passed.\n", count(passed, "check"))
	return err
}
