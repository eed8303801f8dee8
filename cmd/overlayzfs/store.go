package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// readDockerStore is readStore for the command verb, which works on a plugin's store only.
func (f *storeFlags) readDockerStore(verb string, run func(*inventory.Source) error) error {
	return f.readStore(func(s *inventory.Source) error {
		if err := s.RequireDocker(verb); err != nil {
			return err
		}
		return run(s)
	})
}

// readStore runs a command on a store and its engine's records of it, open for reading.
func (f *storeFlags) readStore(run func(*inventory.Source) error) error {
	where, err := f.locateAny(host.SnapshotterConfig)
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

// writeWarnings prints on standard error which of the engine's records are not readable or
// not complete.
func writeWarnings(c console, inv *inventory.Inventory) {
	for _, warning := range inv.Warnings {
		fmt.Fprintln(c.err, "warning: cannot read", warning)
	}
	for _, gap := range inv.Gaps {
		fmt.Fprintln(c.err, "warning: "+inv.Engine+"'s records are incomplete:", gap)
	}
	for _, missing := range inv.Missing {
		fmt.Fprintf(c.err, "warning: %s knows layer %s (%s), which is not in the store\n", inv.Engine, inventory.ShortID(missing.ID), shortList(missing.Users))
	}
}
