package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// snapshotsCommand lists snapshots.
func snapshotsCommand(c console) *cobra.Command {
	var p place
	var o output
	command := &cobra.Command{
		Use:   "snapshots [flags]",
		Short: "List the snapshots that overlayzfs has taken",
		Long: "List the snapshots that overlayzfs has taken, oldest first.\n\n" +
			"USED is what only this snapshot holds: what would come free with it alone.",
		Example: "  overlayzfs snapshots\n" +
			"  overlayzfs snapshots --dataset tank/docker --json | jq -r '.[-1].name'",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			infos, err := p.snapshots()
			if err != nil {
				return err
			}
			if o.json {
				return writeJSON(c.out, list(infos))
			}
			return writeSnapshots(c.out, infos)
		},
	}
	p.flag(command.Flags(), c)
	o.flag(command.Flags())
	return command
}

func (p *place) snapshots() (infos []snapshot.Info, err error) {
	err = p.with(func(z *zfs.Handle) error {
		infos, err = snapshot.List(z, p.dataset)
		return err
	})
	return infos, err
}

func writeSnapshots(w io.Writer, infos []snapshot.Info) error {
	t := newTable(table.Row{"NAME", "EVENT", "TIME", "SCOPE", "DATASETS", "USED", "KEPT BY"}, "DATASETS", "USED")
	for _, s := range infos {
		t.AppendRow(table.Row{s.Name, s.Event, s.Time.Local().Format(time.DateTime), s.Scope, len(s.Datasets), bytesText(s.Used), keptBy(s)})
	}
	return writeTable(w, t)
}

// keptBy says what retention cannot destroy the snapshot for.
func keptBy(s snapshot.Info) string {
	var by []string
	for _, hold := range s.Holds {
		by = append(by, "hold "+hold.Tag)
	}
	if s.Clones > 0 {
		by = append(by, fmt.Sprintf("%d clones", s.Clones))
	}
	if len(by) == 0 {
		return "-"
	}
	return strings.Join(by, ", ")
}
