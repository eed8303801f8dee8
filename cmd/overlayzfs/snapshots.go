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

// snapshotsFlags are those of the snapshots command.
type snapshotsFlags struct {
	*storeFlags
	output
	tableFlags
}

// snapshotColumns are those of the table of snapshots.
var snapshotColumns = []column{
	{"NAME", false}, {"EVENT", false}, {"TIME", false}, {"SCOPE", false}, {"DATASETS", true}, {"USED", true}, {"KEPT BY", false},
}

// snapshotsCommand lists snapshots.
func snapshotsCommand(c console, where *storeFlags) *cobra.Command {
	f := snapshotsFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "snapshots [flags]",
		Short: "List the snapshots that overlayzfs has taken",
		Long: "List the snapshots that overlayzfs has taken, oldest first.\n\n" +
			"USED is the space that destroying this snapshot alone would free. KEPT BY names the holds and clones\n" +
			"because of which retention cannot destroy it.",
		Example: "  overlayzfs snapshots\n" +
			"  overlayzfs snapshots -Hp -o name,time\n" +
			"  overlayzfs snapshots --dataset tank/docker --json | jq -r '.[-1].name'",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			infos, err := f.listSnapshots()
			if err != nil {
				return err
			}
			if f.json {
				return writeJSON(c.out, nonNil(infos))
			}
			return writeSnapshots(c.out, infos, f.tableFlags)
		},
	}
	f.output.register(command.Flags())
	f.tableFlags.register(command, snapshotColumns)
	destroy := destroyCommand(c, where)
	destroy.Args, destroy.PreRunE = asUsage(destroy.Args), refuseIgnored
	command.AddCommand(destroy)
	return command
}

func (f *storeFlags) listSnapshots() (infos []snapshot.Info, err error) {
	err = f.openZFS(func(z *zfs.Handle) error {
		infos, err = snapshot.List(z, f.dataset)
		return err
	})
	return infos, err
}

func writeSnapshots(w io.Writer, infos []snapshot.Info, f tableFlags) error {
	rows := make([]table.Row, len(infos))
	for i, s := range infos {
		taken := s.Time.Local().Format(time.DateTime)
		if f.exact {
			taken = fmt.Sprint(s.Time.Unix())
		}
		rows[i] = table.Row{s.Name, s.Event, taken, s.Scope, len(s.Datasets), f.bytes(int64(s.Used)), holdsText(s)}
	}
	return f.write(w, snapshotColumns, rows)
}

// holdsText names the holds and clones that keep a snapshot from retention.
func holdsText(s snapshot.Info) string {
	var by []string
	for _, hold := range s.Holds {
		by = append(by, "hold "+hold.Tag)
	}
	if s.Clones > 0 {
		by = append(by, count(int(s.Clones), "clone"))
	}
	if len(by) == 0 {
		return "-"
	}
	return strings.Join(by, ", ")
}
