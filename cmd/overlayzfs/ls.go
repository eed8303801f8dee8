package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// lsFlags are those of the ls command.
type lsFlags struct {
	place
	output
	quick   bool
	full    bool
	unknown bool
}

// lsCommand lists layers.
func lsCommand(c console) *cobra.Command {
	var f lsFlags
	command := &cobra.Command{
		Use:   "ls [flags]",
		Short: "List the layers of the store, who uses them and what they take",
		Long: "List the layers of the store. dockerd may run or not.\n\n" +
			"SIZE is the lengths of the layer's own files, ON DISK what they take of the pool, compressed.\n" +
			"USED BY names the images that the layer is part of and the containers that have it. A layer that\n" +
			"Docker does not know is \"unknown\"; `overlayzfs gc` removes such.",
		Example: "  overlayzfs ls\n" +
			"  overlayzfs ls --quick --unknown\n" +
			"  overlayzfs ls --json | jq '.layers[] | select(.limit)'",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.look(func(s *shelf) error { return f.list(command.Context(), c, s) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	command.Flags().BoolVar(&f.quick, "quick", false, "read no layer: SIZE is what Docker recorded of images")
	command.Flags().BoolVar(&f.full, "no-trunc", false, "do not shorten IDs and lists")
	command.Flags().BoolVar(&f.unknown, "unknown", false, "only layers that Docker does not know")
	return command
}

func (f *lsFlags) list(ctx context.Context, c console, s *shelf) error {
	inv, err := s.inventory()
	if err != nil {
		return err
	}
	if f.unknown {
		inv.Layers = only(inv.Layers, inventory.Unknown)
	}
	if !f.quick {
		if err := s.measure(ctx, c, inv, func(inventory.Layer) bool { return true }); err != nil {
			return err
		}
	}
	if f.json {
		return writeJSON(c.out, inv)
	}
	warn(c, inv)
	return writeLayers(c.out, inv.Layers, f.full)
}

func only(layers []inventory.Layer, kind inventory.Kind) []inventory.Layer {
	kept := []inventory.Layer{}
	for _, l := range layers {
		if l.Kind == kind {
			kept = append(kept, l)
		}
	}
	return kept
}

func writeLayers(w io.Writer, layers []inventory.Layer, full bool) error {
	t := newTable(table.Row{"LAYER", "KIND", "PARENT", "SIZE", "ON DISK", "RATIO", "LIMIT", "USED BY"}, "SIZE", "ON DISK", "RATIO", "LIMIT")
	for _, l := range layers {
		id, parent, by := l.ID, l.Parent, strings.Join(usersOf(l), ", ")
		if !full {
			id, parent, by = inventory.ShortID(id), inventory.ShortID(parent), users(usersOf(l))
		}
		t.AppendRow(table.Row{id, kindText(l), dash(parent), sizeText(l), onDiskText(l), ratioText(l), limitText(l.Limit), by})
	}
	return writeTable(w, t)
}

// usersOf are the images and containers that have a layer. A container that
// stands on an image's layer is not one of them: the image is.
func usersOf(l inventory.Layer) []string {
	if l.Kind == inventory.Image && len(l.Images) > 0 {
		return l.Images
	}
	return l.Containers
}

// mostUsers are shown of a layer that many use.
const mostUsers = 3

// users are the first of those who use something, and how many more there are.
func users(names []string) string {
	switch more := len(names) - mostUsers; {
	case len(names) == 0:
		return "-"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostUsers], ", "), more)
	}
	return strings.Join(names, ", ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// kindText is what a layer is, and what is remarkable of its state.
func kindText(l inventory.Layer) string {
	switch {
	case l.Damaged != "":
		return string(l.Kind) + ", damaged"
	case l.State != "ready":
		return string(l.Kind) + ", " + string(l.State)
	}
	return string(l.Kind)
}

func sizeText(l inventory.Layer) string {
	switch {
	case l.Size != nil:
		return bytesText(l.Size.Apparent)
	case l.Recorded > 0:
		return bytesText(l.Recorded)
	}
	return "-"
}

func onDiskText(l inventory.Layer) string {
	if l.Size == nil {
		return "-"
	}
	return bytesText(l.Size.Allocated)
}

// telling is the least size of which a ratio says something: below it there are
// mostly directories.
const telling = 64 << 10

func ratioText(l inventory.Layer) string {
	if l.Size == nil || l.Size.Allocated == 0 || l.Size.Apparent < telling {
		return "-"
	}
	return fmt.Sprintf("%.2fx", float64(l.Size.Apparent)/float64(l.Size.Allocated))
}

func limitText(l *inventory.Limit) string {
	if l == nil || l.Bytes == 0 {
		return "-"
	}
	return bytesText(l.Bytes)
}
