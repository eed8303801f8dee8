package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// dfFlags are those of the df command.
type dfFlags struct {
	*storeFlags
	output
	tableFlags
}

// dfColumns are those of df's first table, which scripts read.
var dfColumns = []column{{"KIND", false}, {"COUNT", true}, {"ACTIVE", true}, {"LAYERS", true}, {"SIZE", true}, {"SHARED", true}}

// dfCommand shows how the pool's space is used.
func dfCommand(c console, where *storeFlags) *cobra.Command {
	f := dfFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "df [flags]",
		Short: "Show the space used in the pool, and how far it is overcommitted",
		Long: "Show how much of the pool images, containers, build cache and snapshots use, and how much more running\n" +
			"and stopped containers may write. A container with a limit may grow to its limit; a container without\n" +
			"one may change every file of its image. When that exceeds the available space, the pool is\n" +
			"overcommitted, and the exit code is 5.\n\n" +
			"SIZE is the length of the files. SHARED is what images save because they share layers. With -H or -o\n" +
			"df prints the first table only.",
		Example: "  overlayzfs df\n" +
			"  overlayzfs df -Hp -o kind,size\n" +
			"  overlayzfs df --json | jq .promise.beyond",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.readStore(func(s *inventory.Source) error {
				inv, err := s.Inventory()
				if err != nil {
					return err
				}
				// The engine records the size of image layers, so df reads none of them.
				if err := measure(command.Context(), c, s, inv, func(l inventory.Layer) bool { return l.Kind != inventory.Image }); err != nil {
					return err
				}
				totals, err := s.Totals(inv)
				if err != nil {
					return err
				}
				return f.report(c, totals)
			})
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	f.tableFlags.register(command, dfColumns)
	return command
}

// report prints the totals. Its error is the exit code of an overcommitted pool.
func (f *dfFlags) report(c console, t inventory.Totals) (err error) {
	switch {
	case f.json:
		err = writeJSON(c.out, t)
	case f.noHeader || len(f.columns) > 0:
		err = f.writeKinds(c.out, t)
	default:
		err = f.writeTotals(c.out, t)
	}
	if err == nil && t.Overcommit.Excess > 0 {
		err = findings{fmt.Sprintf("pool %s is overcommitted by %s", t.Pool.Name, bytesText(t.Overcommit.Excess)), exitWarning}
	}
	return err
}

func (f *dfFlags) writeTotals(w io.Writer, t inventory.Totals) error {
	size := func(n uint64) string { return f.bytes(int64(n)) }
	fmt.Fprintf(w, "Dataset %s: %s used (%s before compression), %s available\n", t.Dataset, size(t.Space.Used), size(t.Space.Logical), size(t.Space.Available))
	fmt.Fprintf(w, "Pool %s: %s, %s of %s allocated\n\n", t.Pool.Name, t.Pool.Health, size(t.Pool.Allocated), size(t.Pool.Size))
	if err := f.writeKinds(w, t); err != nil {
		return err
	}
	fmt.Fprintln(w)

	space := newTable(table.Row{"SPACE ON DISK", "USED"}, "USED")
	space.AppendRow(table.Row{"layers", size(t.Space.Layers)})
	space.AppendRow(table.Row{"limited containers", size(t.Space.Limited)})
	space.AppendRow(table.Row{fmt.Sprintf("snapshots (%d by overlayzfs)", t.Snapshots.Count), size(t.Snapshots.Used)})
	if err := writeTable(w, space); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return f.writeCommitment(w, t.Overcommit)
}

// writeKinds prints what there is of each kind of layer.
func (f *dfFlags) writeKinds(w io.Writer, t inventory.Totals) error {
	rows := []table.Row{
		{"images", t.Images.Count, t.Images.Active, t.Images.Layers, f.bytes(t.Images.Apparent), f.bytes(t.Images.Shared)},
		{"containers", t.Containers.Count, t.Containers.Active, t.Containers.Layers, f.bytes(t.Containers.Apparent), "-"},
		{"build cache", t.Cache.Count, "-", t.Cache.Layers, f.bytes(t.Cache.Apparent), "-"},
		{"unknown to " + t.Engine, t.Unknown.Count, "-", t.Unknown.Layers, f.bytes(t.Unknown.Apparent), "-"},
	}
	if t.Others.Count > 0 {
		rows = append(rows, table.Row{"other snapshots", t.Others.Count, "-", t.Others.Layers, f.bytes(t.Others.Apparent), "-"})
	}
	return f.write(w, dfColumns, rows)
}

// writeCommitment prints what containers may still write.
func (f *dfFlags) writeCommitment(w io.Writer, p inventory.Overcommit) error {
	t := newTable(table.Row{"COMMITTED", "CONTAINERS", "MAY STILL WRITE"}, "CONTAINERS", "MAY STILL WRITE")
	t.AppendRow(table.Row{fmt.Sprintf("with a limit, %s in all", f.bytes(int64(p.Limits))), p.Limited, f.bytes(int64(p.Free))})
	t.AppendRow(table.Row{"without a limit: every file of the image", p.Unlimited, f.bytes(int64(p.Divergence))})
	t.AppendRow(table.Row{"available", "", f.bytes(int64(p.Available))})
	t.AppendRow(table.Row{"overcommitted by", "", f.bytes(int64(p.Excess))})
	return writeTable(w, t)
}
