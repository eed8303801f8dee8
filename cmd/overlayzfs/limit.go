package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/limit"
	"github.com/overlayzfs/overlayzfs/quota"
)

// limitFlags are those of the limit command.
type limitFlags struct {
	*storeFlags
	output
	size, inodes string
	none         bool
	dryRun       bool
	snapshotter  string // its configuration
}

// limitCommand changes the limit of a container.
func limitCommand(c console, where *storeFlags) *cobra.Command {
	f := limitFlags{storeFlags: where, snapshotter: host.SnapshotterConfig}
	command := &cobra.Command{
		Use:   "limit CONTAINER [flags]",
		Short: "Change what a container may write",
		Long: "Set, raise, lower or remove the limit of a container, on the plugin or the snapshotter. The container may\n" +
			"run. A limit that no flag names stays. A limit below what the container holds is refused.\n\n" +
			"A container that was created without a limit has to be stopped for its first one: its files are copied to a\n" +
			"dataset of their own. If it is started meanwhile, the copy is given up and nothing changes.\n\n" +
			"CONTAINER is the name or ID of a container; on a snapshotter's store also NAMESPACE/NAME or the key of its\n" +
			"snapshot. A unique prefix of an ID is enough.",
		Example: "  overlayzfs limit web --size 20G\n" +
			"  overlayzfs limit web --size 20G --inodes 500000\n" +
			"  overlayzfs limit web --none",
		Args: oneArg, ValidArgsFunction: f.offerOneContainer,
		RunE: func(command *cobra.Command, args []string) error {
			change, err := f.parse()
			if err != nil {
				return err
			}
			var report limit.Report
			set := func() (err error) {
				report, err = f.set(command.Context(), args[0], change)
				return err
			}
			if f.dryRun {
				err = set()
			} else {
				err = c.runLocked("limit", set)
			}
			switch {
			case err != nil:
				return err
			case f.json:
				return writeJSON(c.out, report)
			}
			return writeLimit(c.out, report)
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	valueFlag(command.Flags(), &f.size, "size", "", "SIZE", "", "most space, such as 20G; 0 for no limit")
	valueFlag(command.Flags(), &f.inodes, "inodes", "", "N", "", "most files; 0 for no limit")
	command.Flags().BoolVar(&f.none, "none", false, "remove both limits")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, dryRunUsage)
	return command
}

// parse returns the change that the flags ask for.
func (f *limitFlags) parse() (change limit.Change, err error) {
	var bytes, inodes uint64
	if f.none {
		return limit.Change{Bytes: &bytes, Inodes: &inodes}, nil
	}
	if f.size == "" && f.inodes == "" {
		return change, usagef("no limit is given: pass --size, --inodes or --none")
	}
	if f.size != "" {
		if bytes, err = quota.ParseBytes("size", f.size); err != nil {
			return change, usagef("--size %q: want a size of 1M or more, such as 20G, or 0 for no limit", f.size)
		}
		change.Bytes = &bytes
	}
	if f.inodes != "" {
		if inodes, err = quota.ParseInodes("inodes", f.inodes); err != nil {
			return change, usagef("--inodes %q: want a number of files of 16 or more, or 0 for no limit", f.inodes)
		}
		change.Inodes = &inodes
	}
	return change, nil
}

// set changes the limits through the door that the store belongs to.
func (f *limitFlags) set(ctx context.Context, name string, change limit.Change) (limit.Report, error) {
	socket, unread := host.SnapshotterSocket(f.snapshotter)
	where, err := f.locateAny(f.snapshotter)
	snapshotters := errors.Is(err, fault.NotFound) && host.HasSnapshotter(f.snapshotter) // its store is no dataset
	if err == nil {
		snapshotters, err = where.IsSnapshotters()
	}
	switch {
	case snapshotters && unread != nil:
		return limit.Report{}, unread
	case snapshotters:
		found, err := findSnapshot(where, err, name)
		found.Change, found.DryRun = change, f.dryRun
		if err != nil || f.dryRun {
			return found, err
		}
		return limit.OnSnapshotter(ctx, socket, found)
	case err != nil:
		return limit.Report{}, err
	}
	s, err := inventory.OpenSource(where)
	if err != nil {
		return limit.Report{}, err
	}
	report, err := limit.OnPlugin(ctx, s, name, change, f.dryRun)
	return report, errors.Join(err, s.Close())
}

// findSnapshot finds a container in the records of a snapshotter's store. Where these are not
// found, or located is the error of finding the store, the snapshotter alone knows the name.
func findSnapshot(where host.Location, located error, name string) (limit.Report, error) {
	err := located
	if err == nil {
		var s *inventory.Source
		if s, err = inventory.OpenSource(where); err == nil {
			r, err := limit.FindSnapshot(s, name)
			return r, errors.Join(err, s.Close())
		}
	}
	if errors.Is(err, fault.NotFound) {
		return limit.Report{Container: name, Layer: name}, nil
	}
	return limit.Report{}, err
}

// writeLimit prints what was set.
func writeLimit(w io.Writer, r limit.Report) error {
	var parts []string
	switch {
	case r.Bytes == nil:
	case *r.Bytes == 0:
		parts = append(parts, "no limit on space")
	default:
		parts = append(parts, "at most "+bytesText(*r.Bytes))
	}
	switch {
	case r.Inodes == nil:
	case *r.Inodes == 0:
		parts = append(parts, "no limit on files")
	default:
		parts = append(parts, fmt.Sprintf("at most %d files", *r.Inodes))
	}
	would := ""
	if r.DryRun {
		would = "Would set "
	}
	_, err := fmt.Fprintf(w, "%s%s: %s\n", would, fault.Printable(r.Container), strings.Join(parts, ", "))
	return err
}
