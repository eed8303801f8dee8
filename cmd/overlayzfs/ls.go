package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// lsFlags are those of the ls command.
type lsFlags struct {
	*storeFlags
	output
	tableFlags
	quick   bool
	noTrunc bool
	unknown bool
}

// layerColumns are those of a table of layers.
var layerColumns = []column{
	{"LAYER", false}, {"KIND", false}, {"PARENT", false}, {"SIZE", true}, {"ON DISK", true}, {"RATIO", true}, {"LIMIT", true}, {"USED BY", false},
}

// lsCommand lists layers.
func lsCommand(c console, where *storeFlags) *cobra.Command {
	f := lsFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "ls [flags]",
		Short: "List the layers, their users and their sizes",
		Long: "List the layers of the store. The engine may run.\n\n" +
			"SIZE is the length of the layer's own files, ON DISK the compressed space they use in the pool. USED BY\n" +
			"names the images that contain the layer, or the container that it belongs to. The kind \"unknown\" is a\n" +
			"layer that Docker or containerd has no record of; `overlayzfs gc` removes it. The kind \"snapshot\" is one\n" +
			"of containerd's that no image or container has, such as one that an image is unpacked into.",
		Example: "  overlayzfs ls\n" +
			"  overlayzfs ls --quick --unknown\n" +
			"  overlayzfs ls -Hp -o layer,on-disk\n" +
			"  overlayzfs ls --json | jq '.layers[] | select(.limit)'",
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.readStore(func(s *inventory.Source) error { return f.listLayers(command.Context(), c, s) })
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	f.tableFlags.register(command, layerColumns)
	command.Flags().BoolVar(&f.quick, "quick", false, "read no layer; SIZE is what was recorded of image layers")
	command.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "do not shorten IDs and lists")
	command.Flags().BoolVar(&f.unknown, "unknown", false, "list only layers that the engine does not know")
	return command
}

func (f *lsFlags) listLayers(ctx context.Context, c console, s *inventory.Source) error {
	inv, err := s.Inventory()
	if err != nil {
		return err
	}
	if f.unknown {
		inv.Layers = filterKind(inv.Layers, inventory.Unknown)
	}
	if !f.quick {
		if err := measure(ctx, c, s, inv, func(inventory.Layer) bool { return true }); err != nil {
			return err
		}
	}
	if f.json {
		return writeJSON(c.out, inv)
	}
	writeWarnings(c, inv)
	return writeLayers(c.out, inv.Layers, f.noTrunc, f.tableFlags)
}

// filterKind returns the layers of one kind, never nil.
func filterKind(layers []inventory.Layer, kind inventory.Kind) []inventory.Layer {
	return slices.DeleteFunc(slices.Clone(nonNil(layers)), func(l inventory.Layer) bool { return l.Kind != kind })
}

// writeLayers prints a table of layers; noTrunc does not shorten IDs and lists.
func writeLayers(w io.Writer, layers []inventory.Layer, noTrunc bool, f tableFlags) error {
	rows := make([]table.Row, len(layers))
	for i, l := range layers {
		id, parent, by := l.ID, l.Parent, strings.Join(layerUsers(l), ", ")
		if !noTrunc {
			id, parent, by = inventory.ShortID(id), inventory.ShortID(parent), shortList(layerUsers(l))
		}
		rows[i] = table.Row{id, kindText(l), orDash(parent), f.sizeText(l), f.allocatedText(l), f.ratioText(l), f.limitText(l.Limit), by}
	}
	return f.write(w, layerColumns, rows)
}

// layerUsers returns the images that contain a layer, or the container that it belongs
// to. A container based on an image's layer is no user of it: the image is.
func layerUsers(l inventory.Layer) []string {
	if l.Kind == inventory.Image && len(l.Images) > 0 {
		return l.Images
	}
	return l.Containers
}

// maxListed is the longest list that is not shortened.
const maxListed = 3

// shortList joins names, and counts those after the third.
func shortList(names []string) string {
	switch more := len(names) - maxListed; {
	case len(names) == 0:
		return "-"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), more)
	}
	return strings.Join(names, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// kindText is a layer's kind, and its state unless that is ready.
func kindText(l inventory.Layer) string {
	switch {
	case l.Damaged != "":
		return string(l.Kind) + ", damaged"
	case l.State != "ready":
		return string(l.Kind) + ", " + string(l.State)
	}
	return string(l.Kind)
}

func (f tableFlags) sizeText(l inventory.Layer) string {
	switch {
	case l.Size != nil:
		return f.bytes(l.Size.Apparent)
	case l.Recorded > 0:
		return f.bytes(l.Recorded)
	}
	return "-"
}

func (f tableFlags) allocatedText(l inventory.Layer) string {
	if l.Size == nil {
		return "-"
	}
	return f.bytes(l.Size.Allocated)
}

// minRatioSize is the smallest size with a ratio. Smaller layers are mostly
// directories, and their ratio says nothing of compression.
const minRatioSize = 64 << 10

func (f tableFlags) ratioText(l inventory.Layer) string {
	if l.Size == nil || l.Size.Allocated == 0 || l.Size.Apparent < minRatioSize {
		return "-"
	}
	text := fmt.Sprintf("%.2f", float64(l.Size.Apparent)/float64(l.Size.Allocated))
	if f.exact { // zfs -p leaves the x out, too
		return text
	}
	return text + "x"
}

func (f tableFlags) limitText(l *inventory.Limit) string {
	if l == nil || l.Bytes == 0 {
		return "-"
	}
	return f.bytes(int64(l.Bytes))
}
