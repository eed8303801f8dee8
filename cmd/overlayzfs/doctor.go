package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// doctorFlags are those of the doctor command.
type doctorFlags struct {
	place
	output
	on     string // the dataset that the store lies on, be it named, found or the data-root's
	host   string
	quick  bool
	dryRun bool
	all    bool
}

// doctorCommand examines the host.
func doctorCommand(c console) *cobra.Command {
	var f doctorFlags
	command := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Examine whether this host is fit, and say what to do",
		Long: "Examine kernel, OpenZFS, pool, dataset, memory, Docker's configuration and the store. Each finding has a\n" +
			"severity, a reason and a remedy to copy. What layers and limits need is tried on a scratch dataset below\n" +
			"the store's, which is destroyed again; --quick tries nothing. dockerd may run or not.\n\n" +
			"The exit code says the worst: 0 for ok and notes, 5 for warnings, 6 when something is broken.",
		Example: "  overlayzfs doctor\n" +
			"  overlayzfs doctor --quick --json | jq '.[] | select(.severity == \"broken\") | .remedy'",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return f.examine(command.Context(), c) },
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	command.Flags().StringVar(&f.host, "host", cmp.Or(c.getenv("DOCKER_HOST"), defaultHost), "socket of dockerd, `unix://PATH` (DOCKER_HOST)")
	command.Flags().BoolVar(&f.quick, "quick", false, "try nothing on a scratch dataset")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "as --quick: change nothing, not even for a moment")
	command.Flags().BoolVarP(&f.all, "all", "a", false, "show also what is as it should be")
	return command
}

func (f *doctorFlags) examine(ctx context.Context, c console) error {
	facts, err := f.gather(ctx, c)
	if err != nil {
		return err
	}
	found := doctor.Examine(facts)
	if f.json {
		err = writeJSON(c.out, list(found))
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
		return findings{"something wants attention", exitWarning}
	}
	return nil
}

// gather collects facts. What cannot be found out is a fact, too.
func (f *doctorFlags) gather(ctx context.Context, c console) (facts doctor.Facts, err error) {
	facts.GatherHost("")
	f.docker(ctx, c, &facts)
	z, err := zfs.Open()
	facts.Device, facts.DeviceErr = true, err
	if err != nil || facts.Docker.LocationErr != nil {
		return facts, z.Close()
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	facts.GatherDataset(z, f.on)
	if facts.Stats == nil {
		return facts, nil
	}
	facts.Store = f.store(z)
	if !c.busy() {
		facts.Store.Mounts, err = leftMounts()
	}
	if err != nil {
		return facts, err
	}
	if f.quick || f.dryRun || facts.Stats.ReadOnly() {
		return facts, nil
	}
	if err := c.changing("doctor", func() error {
		defer c.waiting("trying what layers need")()
		facts.Probe = doctor.RunProbe(ctx, z, f.on)
		return nil
	}); err != nil {
		facts.Probe = &doctor.Probe{Err: err}
	}
	return facts, nil
}

// docker reads the configuration, and asks dockerd if it runs.
func (f *doctorFlags) docker(ctx context.Context, c console, facts *doctor.Facts) {
	d := &facts.Docker
	d.ConfigFile, d.Packaged = cmp.Or(f.wanted.Config, c.config), doctor.FindPackagedPlugin("")
	d.Config, d.ConfigErr = dockerconf.Read(d.ConfigFile)
	if engine, err := askEngine(ctx, f.host); err == nil {
		d.Engine = engine
	}
	s, err := f.findAny(host.SnapshotterConfig)
	d.Driver, d.Plugin = cmp.Or(s.Driver, "overlayzfs"), s.Plugin
	if err != nil {
		d.LocationErr = err
		return
	}
	d.Migration, d.MigrationErr = migrationOf(s.Root, c)
	_, d.OptionsErr = overlayzfs.ParseOptions(s.Options)
	facts.InPlace = s.Dataset == ""
	if f.on, err = datasetOf(s); err != nil {
		d.LocationErr = err
	}
}

// findAny looks for the plugin's store, and where there is none for the snapshotter's.
func (f *doctorFlags) findAny(snapshotter string) (host.Location, error) {
	s, err := f.find()
	if !errors.Is(err, fault.NotFound) {
		return s, err
	}
	dataset, wrong := host.SnapshotterDataset(snapshotter)
	if wrong != nil || dataset == "" {
		return s, errors.Join(err, wrong)
	}
	f.dataset = dataset
	return f.find()
}

// migrationOf is one that was begun in the data-root, unless it is under way.
func migrationOf(root string, c console) (*doctor.Migration, error) {
	job, err := migrate.FindJob(root)
	if job == nil || err != nil || c.busy() {
		return nil, err
	}
	return &doctor.Migration{
		From: job.From, To: job.To, Phase: string(job.Phase), Next: job.NextCommand(), Undoable: job.IsUndoable() && job.Phase != migrate.Undoing,
		Done:      job.Phase == migrate.Done,
		Switching: job.Phase == migrate.Switching || job.Phase == migrate.Configuring || job.Phase == migrate.Undoing,
	}, nil
}

// store looks into the store and at what earlier commands left.
func (f *doctorFlags) store(z *zfs.Handle) *doctor.Store {
	found := &doctor.Store{}
	found.Err = f.look(func(s *shelf) error {
		inv, err := s.inventory()
		if err != nil {
			return err
		}
		count(found, inv)
		found.Removing, err = s.view.CountRemoving()
		return err
	})
	var errs [3]error
	found.Rollback, errs[0] = snapshot.PendingRollback(z, f.on)
	if found.Rollback != "" && !snapshot.HasRecords(z, f.on, found.Rollback) {
		found.RollbackFlags = " --layers-only"
	}
	receiving, err := overlayzfs.ReadReceiving(z, f.on)
	if errs[2] = err; receiving != nil {
		found.Receiving = receiving.To
	}
	found.Scratch, errs[1] = doctor.FindScratch(z, f.on)
	if err := errors.Join(errs[:]...); err != nil && found.Err == nil {
		found.Err = err
	}
	return found
}

// leftMounts are the directories that commands which were killed had a store or a
// scratch dataset mounted on.
func leftMounts() (left []string, err error) {
	for _, name := range []string{host.HomesPrefix, doctor.ScratchPrefix} {
		dirs, err := filepath.Glob(filepath.Join(host.HomesDir, name+"*"))
		if err != nil {
			return nil, err
		}
		left = append(left, dirs...)
	}
	return left, nil
}

func count(found *doctor.Store, inv *inventory.Inventory) {
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

// writeFindings prints the worst first, each with what to do.
func writeFindings(w io.Writer, found []doctor.Finding, all bool) error {
	fine := 0
	for _, f := range found {
		if f.Severity == doctor.OK {
			fine++
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
	_, err := fmt.Fprintf(w, "%s as it should be.\n", number(fine, "thing"))
	return err
}
