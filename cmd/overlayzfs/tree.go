package main

import (
	"fmt"
	"io"
	"slices"

	prettylist "github.com/jedib0t/go-pretty/v6/list"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// treeCommand shows which layer stands on which.
func treeCommand(c console) *cobra.Command {
	var p place
	var o output
	command := &cobra.Command{
		Use:   "tree [flags]",
		Short: "Show which layer stands on which, down to containers",
		Long: "Show the layers as a tree: base layers at the left, what stands on them below. An image is named at\n" +
			"its uppermost layer. No layer is read; sizes are those that Docker recorded.",
		Example: "  overlayzfs tree\n" +
			"  overlayzfs tree --json | jq '.[].layer.id'",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return p.look(func(s *shelf) error {
				inv, err := s.inventory()
				if err != nil {
					return err
				}
				roots := grow(inv.Layers, topsOf(s))
				if o.json {
					return writeJSON(c.out, list(roots))
				}
				warn(c, inv)
				return writeTree(c.out, roots)
			})
		},
	}
	p.flag(command.Flags(), c)
	o.flag(command.Flags())
	return command
}

// node is a layer and what stands on it.
type node struct {
	Layer    inventory.Layer `json:"layer"`
	Tops     []string        `json:"images,omitempty"` // of which it is the uppermost layer
	Children []*node         `json:"children,omitempty"`
}

// topsOf are the names of the images that end with a layer, by its ID.
func topsOf(s *shelf) map[string][]string {
	tops := map[string][]string{}
	for _, image := range s.records.Images {
		if layer, ok := s.records.Layers[image.Top()]; ok {
			tops[layer.CacheID] = append(tops[layer.CacheID], inventory.ImageName(image))
		}
	}
	return tops
}

// grow makes trees of layers. One whose parent is not there is a root itself.
func grow(layers []inventory.Layer, tops map[string][]string) (roots []*node) {
	nodes := make(map[string]*node, len(layers))
	for _, l := range layers {
		slices.SortFunc(tops[l.ID], inventory.CompareImageNames)
		nodes[l.ID] = &node{Layer: l, Tops: tops[l.ID]}
	}
	for _, l := range layers { // in the order of the inventory
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
	case len(n.Tops) > 0:
		text += "  " + users(n.Tops)
	case l.Kind == inventory.Container:
		text += "  container " + users(l.Containers)
	case l.Kind != inventory.Image:
		text += "  " + kindText(l)
	}
	if l.Limit != nil && l.Limit.Bytes > 0 {
		text += ", limit " + limitText(l.Limit)
	}
	return text
}
