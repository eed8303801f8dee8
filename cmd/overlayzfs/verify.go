package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// verifyFlags are those of the verify command.
type verifyFlags struct {
	*storeFlags
	output
}

// verdict is the result of verify, as JSON prints it.
type verdict struct {
	Layers  []verify.Result `json:"layers"`
	Bytes   int64           `json:"bytes"` // apparent size of the intact layers
	Damaged []string        `json:"damaged_images,omitempty"`
	// Gaps and Warnings are lost and unreadable records of the engine. Their layers were
	// not compared.
	Gaps     []dockerstore.Gap `json:"gaps,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`

	engine string // Docker or containerd
}

// verifyCommand compares layers with Docker's digests of them.
func verifyCommand(c console, where *storeFlags) *cobra.Command {
	f := verifyFlags{storeFlags: where}
	command := &cobra.Command{
		Use:   "verify [NAME...] [flags]",
		Short: "Compare layers with their digests",
		Long: "Compare layers with the engine's records. verify rebuilds a layer's tar from its files and Docker's\n" +
			"tar-split record, and compares the digest with the image's DiffID. Where the record cannot give the tar\n" +
			"again, as of sparse files, it compares each file with the record's checksum. It checks type, owner, mode,\n" +
			"capabilities, size, links and whiteouts of every file, and reports files that are not recorded. Of a\n" +
			"snapshotter's store it makes the record from the layer's blob in containerd's content store. It verifies\n" +
			"all layers, or those of the images and containers named. The engine may run; verify skips layers that it\n" +
			"removes.\n\n" +
			"A layer is as recorded, changed or unproven. Unproven means that the record proves nothing, or that\n" +
			"containerd discarded the blob: keep the image.\n" +
			"The exit code is 6 when a layer changed, is missing or has no record, and 5 when one is unproven or a\n" +
			"record is unreadable.",
		Example: "  overlayzfs verify\n" +
			"  overlayzfs verify debian:trixie web\n" +
			"  overlayzfs verify --json | jq '.layers[] | select(.status != \"ok\")'",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: f.offerNames,
		RunE: func(command *cobra.Command, args []string) error {
			return f.readStore(func(s *inventory.Source) error { return f.verify(command.Context(), c, s, args) })
		},
	}
	f.output.register(command.Flags())
	f.registerContainerd(command.Flags())
	return command
}

func (f *verifyFlags) verify(ctx context.Context, c console, s *inventory.Source, names []string) error {
	inv, err := s.Inventory()
	if err != nil {
		return err
	}
	engine, layers, gaps, err := selectLayers(s, inv, names)
	if err != nil {
		return err
	}
	results, err := compareLayers(ctx, c, s, engine, layers)
	if err != nil {
		return err
	}
	v := newVerdict(results, layers, inv)
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

// selectLayers returns the layers to compare, the engine that has records of them, and the
// gaps in its records.
func selectLayers(s *inventory.Source, inv *inventory.Inventory, names []string) (engine verify.Engine, layers []dockerstore.Layer, gaps []dockerstore.Gap, err error) {
	if s.Docker != nil {
		layers, gaps, err = verify.SelectLayers(s.Records, inv, names)
		return verify.Docker{Root: s.Docker, Driver: s.Where.Driver}, layers, gaps, err
	}
	layers, gaps, err = verify.SelectSnapshots(inv, names)
	return verify.NewContainerd(s.Root, s.Containerd.Records), layers, gaps, err
}

// compareLayers compares layers with their digests, and shows the progress in bytes.
func compareLayers(ctx context.Context, c console, s *inventory.Source, engine verify.Engine, layers []dockerstore.Layer) ([]verify.Result, error) {
	var total int64
	for _, layer := range layers {
		total += layer.Size
	}
	step, done := c.showProgress("comparing layers", total)
	defer done()
	v := verify.Verifier{View: s.View, Engine: engine, Progress: func(n int) { step(int64(n)) }}
	return v.VerifyLayers(ctx, layers)
}

// newVerdict sums up the results of comparing layers.
func newVerdict(results []verify.Result, layers []dockerstore.Layer, inv *inventory.Inventory) verdict {
	v := verdict{Layers: nonNil(results), engine: inv.Engine}
	images := map[string]bool{}
	for i, r := range results {
		if r.Status == verify.OK {
			v.Bytes += layers[i].Size
		}
		if !r.IsWrong() {
			continue
		}
		for _, name := range inv.ImagesWith(r.ID) {
			images[name] = true
		}
	}
	v.Damaged = slices.Sorted(maps.Keys(images))
	return v
}

func writeVerdict(w io.Writer, v verdict, inv *inventory.Inventory) error {
	for _, warning := range v.Warnings {
		fmt.Fprintln(w, "cannot read:", warning)
	}
	for _, gap := range v.Gaps {
		fmt.Fprintln(w, "not compared:", gap)
	}
	totals := map[verify.Status]int{}
	t := newTable(table.Row{"LAYER", "STATUS", "USED BY", "REASON"})
	for _, r := range v.Layers {
		totals[r.Status]++
		if r.Status != verify.OK && r.Status != verify.Removed {
			t.AppendRow(table.Row{inventory.ShortID(r.ID), r.Status, shortList(inv.ImagesWith(r.ID)), r.Reason})
		}
	}
	if t.Length() > 0 {
		if err := writeTable(w, t); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	byChecksums := ""
	if n := v.countByChecksums(); n > 0 {
		byChecksums = fmt.Sprintf(" (%d by checksums, because the record cannot give the tar again)", n)
	}
	_, err := fmt.Fprintf(w, "Intact: %s, %s%s.\n", count(totals[verify.OK], "layer"), bytesText(v.Bytes), byChecksums)
	return err
}

// countByChecksums returns how many intact layers are proven by checksums alone.
func (v verdict) countByChecksums() (n int) {
	for _, r := range v.Layers {
		if r.Proof == verify.ByChecksums {
			n++
		}
	}
	return n
}

// findings returns the exit code as an error that says what to do. It advises to remove an
// image only when a layer changed or is missing.
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
		return findings{fmt.Sprintf("%s changed or missing; remove these images and their containers, and pull or build them again: %s", count(wrong, "layer"), shortList(v.Damaged)), exitBroken}
	case len(v.Gaps) > 0:
		return findings{fmt.Sprintf("%s's records are incomplete: %s; pull or build these images again, or restore the records", v.engine, count(len(v.Gaps), "gap")), exitBroken}
	case len(v.Warnings) > 0:
		return findings{fmt.Sprintf("cannot read %s of %s; the layers they describe were not compared", count(len(v.Warnings), "record"), v.engine), exitWarning}
	case unproven > 0:
		return findings{fmt.Sprintf("%s's records prove nothing of %s (see REASON); keep the images, and compare them with a pull if in doubt", v.engine, count(unproven, "layer")), exitWarning}
	}
	return nil
}
