package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// inspectCommand shows one thing with all its layers.
func inspectCommand(c console) *cobra.Command {
	var p place
	var o output
	command := &cobra.Command{
		Use:   "inspect NAME [flags]",
		Short: "Show the layers of an image or container, or one layer",
		Long: "Show an image, a container or a layer: its layers from the lowest up, what they take, by what means\n" +
			"a limit is kept, and who else uses them. NAME is a container's or image's name or ID, or a layer's\n" +
			"ID; IDs may be shortened.",
		Example: "  overlayzfs inspect debian:trixie\n" +
			"  overlayzfs inspect web --json | jq '.layers[-1].limit'",
		Args: cobra.ExactArgs(1), ValidArgsFunction: p.offerOne,
		RunE: func(command *cobra.Command, args []string) error {
			return p.look(func(s *shelf) error {
				inv, err := s.inventory()
				if err != nil {
					return err
				}
				found, err := inv.Find(s.records, args[0])
				if err != nil {
					return err
				}
				wanted := map[string]bool{}
				for _, l := range found.Layers {
					wanted[l.ID] = true
				}
				if err := s.measure(command.Context(), c, inv, func(l inventory.Layer) bool { return wanted[l.ID] }); err != nil {
					return err
				}
				if o.json {
					return writeJSON(c.out, found)
				}
				return writeFound(c.out, found)
			})
		},
	}
	p.flag(command.Flags(), c)
	o.flag(command.Flags())
	return command
}

func writeFound(w io.Writer, f *inventory.Match) error {
	fmt.Fprintf(w, "%s %s\n", strings.ToUpper(f.Kind[:1])+f.Kind[1:], f.Name)
	lines := [][2]string{{"ID", f.ID}, {"Tags", strings.Join(f.Tags, ", ")}, {"Image", f.Image}, {"Used by", strings.Join(f.SharedBy, ", ")}}
	if f.Kind == "container" {
		lines = append(lines, [2]string{"Running", fmt.Sprint(f.Running)})
	}
	lines = append(lines, [2]string{"Only its own", bytesText(f.Exclusive)})
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
	return writeLayers(w, layers, false)
}

// limitLines describe the limit of the uppermost layer, and what it is short of.
func limitLines(l *inventory.Layer) (lines [][2]string) {
	if l.Damaged != "" {
		lines = append(lines, [2]string{"Damaged", l.Damaged})
	}
	if l.Limit == nil {
		return lines
	}
	text := limitText(l.Limit)
	if l.Limit.Inodes > 0 {
		text += fmt.Sprintf(", %d files", l.Limit.Inodes)
	}
	lines = append(lines, [2]string{"Limit", text + " (" + string(l.Limit.Mode) + ")"})
	return append(lines, [2]string{"Dataset", l.Limit.Dataset})
}
