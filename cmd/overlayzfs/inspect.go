package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// inspectFlags are those of the inspect command.
type inspectFlags struct {
	*storeFlags
	output
}

// inspectCommand shows an image, a container or a layer.
func inspectCommand(c console, where *storeFlags) *cobra.Command {
	f := inspectFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "inspect NAME [flags]",
		Short: "Show an image, a container or a layer in detail",
		Long: "Show an image, a container or a layer: its layers from the base up, their sizes and users, and how its\n" +
			"limit is enforced. NAME is the name or ID of an image or container, or a layer's ID. A unique prefix of\n" +
			"an ID is enough.",
		Example: "  overlayzfs inspect debian:trixie\n" +
			"  overlayzfs inspect web --json | jq '.layers[-1].limit'",
		Args: oneArg, ValidArgsFunction: f.offerOneName,
		RunE: func(command *cobra.Command, args []string) error {
			return f.readStore(func(s *inventory.Source) error {
				inv, err := s.Inventory()
				if err != nil {
					return err
				}
				found, err := inv.Find(args[0])
				if err != nil {
					return err
				}
				wanted := map[string]bool{}
				for _, l := range found.Layers {
					wanted[l.ID] = true
				}
				if err := measure(command.Context(), c, s, inv, func(l inventory.Layer) bool { return wanted[l.ID] }); err != nil {
					return err
				}
				if f.json {
					return writeJSON(c.out, found)
				}
				return writeFound(c.out, found)
			})
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	return command
}

func writeFound(w io.Writer, f *inventory.Match) error {
	fmt.Fprintf(w, "%s %s\n", strings.ToUpper(f.Kind[:1])+f.Kind[1:], f.Name)
	lines := [][2]string{{"ID", f.ID}, {"Namespace", f.Namespace}, {"Snapshot", f.Snapshot}, {"Tags", strings.Join(f.Tags, ", ")}, {"Image", f.Image}, {"Used by", strings.Join(f.SharedBy, ", ")}}
	if f.Kind == "container" {
		lines = append(lines, [2]string{"Running", fmt.Sprint(f.Running)})
	}
	lines = append(lines, [2]string{"Not shared", bytesText(f.Exclusive)})
	if len(f.Layers) > 0 {
		lines = append(lines, limitLines(f.Layers[len(f.Layers)-1])...)
	}
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-14s%s\n", line[0]+":", line[1])
		}
	}
	fmt.Fprintln(w)
	layers := make([]inventory.Layer, len(f.Layers))
	for i, l := range f.Layers {
		layers[i] = *l
	}
	return writeLayers(w, layers, false, tableFlags{})
}

// limitLines describe the limit and the damage of the uppermost layer.
func limitLines(l *inventory.Layer) (lines [][2]string) {
	if l.Damaged != "" {
		lines = append(lines, [2]string{"Damaged", l.Damaged})
	}
	if l.Limit == nil {
		return lines
	}
	var limits []string
	if l.Limit.Bytes > 0 {
		limits = append(limits, bytesText(l.Limit.Bytes))
	}
	if l.Limit.Inodes > 0 {
		limits = append(limits, fmt.Sprintf("%d files", l.Limit.Inodes))
	}
	text := cmp.Or(strings.Join(limits, ", "), "none") // it was taken away
	lines = append(lines, [2]string{"Limit", text + " (" + string(l.Limit.Mode) + ")"})
	return append(lines, [2]string{"Dataset", l.Limit.Dataset})
}
