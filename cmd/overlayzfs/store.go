package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// readStore runs a command on a store and Docker's records of it, open for reading.
func (f *storeFlags) readStore(run func(*inventory.Source) error) error {
	where, err := f.locate()
	if err != nil {
		return err
	}
	s, err := inventory.OpenSource(where)
	if err != nil {
		return err
	}
	return errors.Join(run(s), s.Close())
}

// measure measures the layers that want selects.
func measure(ctx context.Context, c console, s *inventory.Source, inv *inventory.Inventory, want func(inventory.Layer) bool) error {
	var layers []*inventory.Layer
	for i := range inv.Layers {
		if want(inv.Layers[i]) {
			layers = append(layers, &inv.Layers[i])
		}
	}
	step, done := c.showProgress("measuring layers", int64(len(layers)))
	defer done()
	return inventory.Measurer{View: s.View, ZFS: s.ZFS, Dataset: s.Dataset}.Measure(ctx, layers, func() { step(1) })
}

// writeWarnings prints on standard error which of Docker's records are not readable or
// not complete.
func writeWarnings(c console, inv *inventory.Inventory) {
	for _, warning := range inv.Warnings {
		fmt.Fprintln(c.err, "warning: cannot read", warning)
	}
	for _, gap := range inv.Gaps {
		fmt.Fprintln(c.err, "warning: Docker's records are incomplete:", gap)
	}
	for _, missing := range inv.Missing {
		fmt.Fprintf(c.err, "warning: Docker knows layer %s (%s), which is not in the store\n", inventory.ShortID(missing.ID), shortList(missing.Users))
	}
}
