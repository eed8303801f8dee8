package main

import (
	"fmt"
	"io"
	"slices"

	prettylist "github.com/jedib0t/go-pretty/v6/list"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// treeFlags are those of the tree command.
type treeFlags struct {
	*storeFlags
	output
}

// treeCommand shows the layers as a tree.
func treeCommand(c console, where *storeFlags) *cobra.Command {
	f := treeFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "tree [flags]",
		Short: "Show the layers as a tree, from base layers to containers",
		Long: "Show the layers as a tree: base layers at the left, their children below. An image's name is at its top\n" +
			"layer. Sizes are those that the engine recorded; tree reads no layer.",
		Example: "  overlayzfs tree\n" +
			"  overlayzfs tree --json | jq '.[].layer.id'",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return f.readStore(func(s *inventory.Source) error {
				inv, err := s.Inventory()
				if err != nil {
					return err
				}
				roots := buildTree(inv.Layers, inv.TopLayers())
				if f.json {
					return writeJSON(c.out, nonNil(roots))
				}
				writeWarnings(c, inv)
				return writeTree(c.out, roots)
			})
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	return command
}

// node is a layer and its children.
type node struct {
	Layer    inventory.Layer `json:"layer"`
	Images   []string        `json:"images,omitempty"` // whose top layer it is
	Children []*node         `json:"children,omitempty"`
}

// buildTree makes trees of layers. A layer whose parent is missing is a root.
func buildTree(layers []inventory.Layer, tops map[string][]string) (roots []*node) {
	nodes := make(map[string]*node, len(layers))
	for _, l := range layers {
		slices.SortFunc(tops[l.ID], inventory.CompareImageNames)
		nodes[l.ID] = &node{Layer: l, Images: tops[l.ID]}
	}
	for _, l := range layers { // keeps the inventory's order
		if parent, ok := nodes[l.Parent]; ok && l.Parent != l.ID {
			parent.Children = append(parent.Children, nodes[l.ID])
		} else {
			roots = append(roots, nodes[l.ID])
		}
	}
	return roots
}

func writeTree(w io.Writer, roots []*node) error {
	tree := prettylist.NewWriter()
	tree.SetStyle(prettylist.StyleConnectedLight)
	var add func(nodes []*node)
	add = func(nodes []*node) {
		for _, n := range nodes {
			tree.AppendItem(n.text())
			tree.Indent()
			add(n.Children)
			tree.UnIndent()
		}
	}
	add(roots)
	_, err := fmt.Fprintln(w, tree.Render())
	return err
}

func (n *node) text() string {
	l := n.Layer
	text := inventory.ShortID(l.ID)
	if l.Recorded > 0 {
		text += "  " + bytesText(l.Recorded)
	}
	switch {
	case len(n.Images) > 0:
		text += "  " + shortList(n.Images)
	case l.Kind == inventory.Container:
		text += "  container " + shortList(l.Containers)
	case l.Kind != inventory.Image:
		text += "  " + kindText(l)
	}
	if l.Limit != nil && l.Limit.Bytes > 0 {
		text += ", limit " + bytesText(l.Limit.Bytes)
	}
	return text
}
