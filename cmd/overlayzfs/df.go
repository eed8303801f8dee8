package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// dfCommand shows what takes the pool's space.
func dfCommand(c console) *cobra.Command {
	var p place
	var o output
	command := &cobra.Command{
		Use:   "df [flags]",
		Short: "Show what takes the pool's space, and what the pool is promised to",
		Long: "Show what images, containers, build cache and snapshots take of the pool, and how much more may be\n" +
			"written by what is there already: limited containers may grow to their limits, and others share an\n" +
			"image's files until they change them. What is promised beyond what the pool has is said, and the\n" +
			"exit code is 5 then.",
		Example: "  overlayzfs df\n" +
			"  overlayzfs df --json | jq .promise.beyond",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return p.look(func(s *shelf) error {
				totals, err := s.totals(command.Context(), c)
				if err != nil {
					return err
				}
				if o.json {
					err = writeJSON(c.out, totals)
				} else {
					err = writeTotals(c.out, totals)
				}
				if err == nil && totals.Overcommit.Excess > 0 {
					err = findings{fmt.Sprintf("pool %s is promised to %s more than it has", totals.Pool.Name, bytesText(totals.Overcommit.Excess)), exitWarning}
				}
				return err
			})
		},
	}
	p.flag(command.Flags(), c)
	o.flag(command.Flags())
	return command
}

// totals adds up. Only containers' layers are read: Docker recorded the size of
// images.
func (s *shelf) totals(ctx context.Context, c console) (t inventory.Totals, err error) {
	inv, err := s.inventory()
	if err != nil {
		return t, err
	}
	if err := s.measure(ctx, c, inv, func(l inventory.Layer) bool { return l.Kind != inventory.Image }); err != nil {
		return t, err
	}
	if err := t.Measure(s.zfs, s.dataset, zfs.PoolOf(s.dataset)); err != nil {
		return t, err
	}
	infos, err := snapshot.List(s.zfs, s.dataset)
	if err != nil {
		return t, err
	}
	t.Snapshots = inventory.Snapshots{Count: len(infos), Used: t.Space.Snapshots}
	inv.CountGroups(&t, s.records)
	t.Overcommit = inv.ComputeOvercommit(s.records, t.Space.Available)
	return t, nil
}

func writeTotals(w io.Writer, t inventory.Totals) error {
	fmt.Fprintf(w, "Dataset %s: %s used (%s before compression), %s available\n", t.Dataset, bytesText(t.Space.Used), bytesText(t.Space.Logical), bytesText(t.Space.Available))
	fmt.Fprintf(w, "Pool %s: %s, %s of %s allocated\n\n", t.Pool.Name, t.Pool.Health, bytesText(t.Pool.Allocated), bytesText(t.Pool.Size))

	kinds := newTable(table.Row{"KIND", "COUNT", "ACTIVE", "LAYERS", "SIZE", "SAVED BY SHARING"}, "COUNT", "ACTIVE", "LAYERS", "SIZE", "SAVED BY SHARING")
	kinds.AppendRow(table.Row{"images", t.Images.Count, t.Images.Active, t.Images.Layers, bytesText(t.Images.Apparent), bytesText(t.Images.Shared)})
	kinds.AppendRow(table.Row{"containers", t.Containers.Count, t.Containers.Active, t.Containers.Layers, bytesText(t.Containers.Apparent), "-"})
	kinds.AppendRow(table.Row{"build cache", t.Cache.Count, "-", t.Cache.Layers, bytesText(t.Cache.Apparent), "-"})
	kinds.AppendRow(table.Row{"unknown to Docker", t.Unknown.Count, "-", t.Unknown.Layers, bytesText(t.Unknown.Apparent), "-"})
	if err := writeTable(w, kinds); err != nil {
		return err
	}
	fmt.Fprintln(w)

	space := newTable(table.Row{"SPACE ON DISK", "USED"}, "USED")
	space.AppendRow(table.Row{"layers", bytesText(t.Space.Layers)})
	space.AppendRow(table.Row{"limited containers", bytesText(t.Space.Limited)})
	space.AppendRow(table.Row{fmt.Sprintf("snapshots (%d of overlayzfs)", t.Snapshots.Count), bytesText(t.Snapshots.Used)})
	if err := writeTable(w, space); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return writePromise(w, t.Overcommit)
}

func writePromise(w io.Writer, p inventory.Overcommit) error {
	t := newTable(table.Row{"PROMISED", "CONTAINERS", "MAY STILL WRITE"}, "CONTAINERS", "MAY STILL WRITE")
	t.AppendRow(table.Row{fmt.Sprintf("limits, %s in all", bytesText(p.Limits)), p.Limited, bytesText(p.Free)})
	t.AppendRow(table.Row{"no limit: all files of the image changed", p.Unlimited, bytesText(p.Divergence)})
	t.AppendRow(table.Row{"available", "", bytesText(p.Available)})
	t.AppendRow(table.Row{"promised beyond", "", bytesText(p.Excess)})
	return writeTable(w, t)
}
