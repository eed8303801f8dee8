package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// snapshotsCommand lists snapshots.
func snapshotsCommand(c console) *cobra.Command {
	var p place
	var asJSON bool
	command := &cobra.Command{
		Use:   "snapshots [flags]",
		Short: "List the snapshots that overlayzfs has taken",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			infos, err := p.snapshots()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.out, infos)
			}
			return writeTable(c.out, infos)
		},
	}
	p.flag(command.Flags(), c)
	command.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, oldest first")
	return command
}

func (p place) snapshots() (infos []snapshot.Info, err error) {
	err = p.with(func(z *zfs.Handle) error {
		infos, err = snapshot.List(z, p.dataset)
		return err
	})
	return infos, err
}

func writeJSON(w io.Writer, infos []snapshot.Info) error {
	if infos == nil {
		infos = []snapshot.Info{} // an array, always
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(infos)
}

func writeTable(w io.Writer, infos []snapshot.Info) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tEVENT\tTIME\tSCOPE\tDATASETS\tUSED\tKEPT BY")
	for _, s := range infos {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.Name, s.Event, s.Time.Local().Format(time.DateTime),
			s.Scope, len(s.Datasets), units.BytesSize(float64(s.Used)), keptBy(s))
	}
	return t.Flush()
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
