package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	digest "github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// verifyFlags are those of the verify command.
type verifyFlags struct {
	place
	output
}

// verdict is what verify found out, as JSON has it.
type verdict struct {
	Layers  []verify.Result `json:"layers"`
	Bytes   int64           `json:"bytes"` // apparent size of what was compared
	Damaged []string        `json:"damaged_images,omitempty"`
	// Gaps and Warnings are of Docker's records: layers that were not compared,
	// because their records are lost or cannot be read.
	Gaps     []dockerstore.Gap `json:"gaps,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
}

// verifyCommand compares layers with what Docker recorded of them.
func verifyCommand(c console) *cobra.Command {
	var f verifyFlags
	command := &cobra.Command{
		Use:   "verify [NAME...] [flags]",
		Short: "Compare every recorded layer with its digest",
		Long: "Compare layers with what Docker recorded of them: the layer's tar is made again from Docker's record\n" +
			"(tar-split) and the layer's files, and has to have the digest of the image's DiffID. Every entry is\n" +
			"compared: type, owner, mode, capabilities, size, links, deletions, and that nothing is there besides. All\n" +
			"layers, or those of the images and containers that are named. dockerd may run; layers that it removes\n" +
			"meanwhile are passed over.\n\n" +
			"The exit code is 6 when a layer is not as recorded or has no record, and 5 when a record of Docker\n" +
			"cannot be read.",
		Example: "  overlayzfs verify\n" +
			"  overlayzfs verify debian:trixie web\n" +
			"  overlayzfs verify --json | jq '.layers[] | select(.status != \"ok\")'",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: f.offerMany,
		RunE: func(command *cobra.Command, args []string) error {
			return f.look(func(s *shelf) error { return f.verify(command.Context(), c, s, args) })
		},
	}
	f.place.flag(command.Flags(), c)
	f.output.flag(command.Flags())
	return command
}

func (f *verifyFlags) verify(ctx context.Context, c console, s *shelf, names []string) error {
	inv, err := s.inventory()
	if err != nil {
		return err
	}
	layers, gaps, err := selected(s.records, inv, names)
	if err != nil {
		return err
	}
	results, err := s.compare(ctx, c, layers)
	if err != nil {
		return err
	}
	v := verdictOf(results, layers, inv)
	v.Gaps, v.Warnings = gaps, inv.Warnings
	if f.json {
		err = writeJSON(c.out, v)
	} else {
		err = writeVerdict(c.out, v, inv)
	}
	if err != nil {
		return err
	}
	return v.findings()
}

// selected are the layers to compare, in the order of their digests, and what is
// not to be compared because its record is lost: all, or those of what is named.
func selected(records *dockerstore.Records, inv *inventory.Inventory, names []string) ([]dockerstore.Layer, []dockerstore.Gap, error) {
	if len(names) == 0 {
		return inOrder(records.Layers), inv.Gaps, nil
	}
	layers := map[digest.Digest]dockerstore.Layer{}
	var gaps []dockerstore.Gap
	for _, name := range names {
		found, err := inv.Find(records, name)
		if err != nil {
			return nil, nil, err
		}
		if len(found.Chains) == 0 {
			return nil, nil, fault.New(fault.Invalid, "there is nothing to compare of %s %q: Docker has no digest of any layer of it", found.Kind, name)
		}
		if gap, ok := records.FindGap(found.Kind+" "+found.Name, found.Chains...); ok {
			gaps = append(gaps, gap)
		}
		for _, chain := range found.Chains {
			if layer, ok := records.Layers[chain]; ok {
				layers[chain] = layer
			}
		}
	}
	return inOrder(layers), gaps, nil
}

func inOrder(layers map[digest.Digest]dockerstore.Layer) []dockerstore.Layer {
	return slices.SortedFunc(maps.Values(layers), func(a, b dockerstore.Layer) int { return cmp.Compare(a.Chain, b.Chain) })
}

func (s *shelf) compare(ctx context.Context, c console, layers []dockerstore.Layer) ([]verify.Result, error) {
	var total int64
	for _, layer := range layers {
		total += layer.Size
	}
	step, done := c.progress("comparing layers", total)
	defer done()
	v := verify.Verifier{View: s.view, Docker: s.docker, Driver: s.host.Driver, Progress: func(n int) { step(int64(n)) }}
	return v.VerifyLayers(ctx, layers)
}

func verdictOf(results []verify.Result, layers []dockerstore.Layer, inv *inventory.Inventory) verdict {
	v := verdict{Layers: list(results)}
	images := map[string]bool{}
	for i, r := range results {
		if r.Status == verify.OK {
			v.Bytes += layers[i].Size
		}
		if !r.IsWrong() {
			continue
		}
		for _, name := range imagesWith(inv, r.ID) {
			images[name] = true
		}
	}
	v.Damaged = slices.Sorted(maps.Keys(images))
	return v
}

// imagesWith are the images that have a layer, in the store or not.
func imagesWith(inv *inventory.Inventory, id string) []string {
	for _, l := range inv.Layers {
		if l.ID == id {
			return l.Images
		}
	}
	for _, missing := range inv.Missing {
		if missing.ID == id {
			return missing.Users
		}
	}
	return nil
}

func writeVerdict(w io.Writer, v verdict, inv *inventory.Inventory) error {
	for _, warning := range v.Warnings {
		fmt.Fprintln(w, "not read:", warning)
	}
	for _, gap := range v.Gaps {
		fmt.Fprintln(w, "not compared:", gap)
	}
	counts := map[verify.Status]int{}
	t := newTable(table.Row{"LAYER", "STATUS", "USED BY", "REASON"})
	for _, r := range v.Layers {
		counts[r.Status]++
		if r.Status != verify.OK && r.Status != verify.Removed {
			t.AppendRow(table.Row{inventory.ShortID(r.ID), r.Status, users(imagesWith(inv, r.ID)), r.Reason})
		}
	}
	if t.Length() > 0 {
		if err := writeTable(w, t); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "As Docker recorded: %s, %s.\n", number(counts[verify.OK], "layer"), bytesText(v.Bytes))
	return err
}

// findings is the exit code, and what to do.
func (v verdict) findings() error {
	var wrong, unproven int
	for _, r := range v.Layers {
		switch {
		case r.IsWrong():
			wrong++
		case r.Status == verify.Unproven:
			unproven++
		}
	}
	switch {
	case wrong > 0:
		return findings{fmt.Sprintf("not as Docker recorded: %s; remove these images and their containers and pull or build them again: %s", number(wrong, "layer"), users(v.Damaged)), exitBroken}
	case len(v.Gaps) > 0:
		return findings{fmt.Sprintf("Docker's records are not whole: %s; pull or build such images again, or bring the records back", number(len(v.Gaps), "gap")), exitBroken}
	case len(v.Warnings) > 0:
		return findings{fmt.Sprintf("not read, and perhaps not compared: %s of Docker", number(len(v.Warnings), "record")), exitWarning}
	case unproven > 0:
		return findings{fmt.Sprintf("Docker's record cannot be read of %s; docker save fails for images with them", number(unproven, "layer")), exitWarning}
	}
	return nil
}
