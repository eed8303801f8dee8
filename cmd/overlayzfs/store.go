package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// shelf is a store and Docker's records of it, both to be read, dockerd running
// or not.
type shelf struct {
	host    host.Location
	dataset string
	zfs     *zfs.Handle
	view    *overlayzfs.StoreView
	docker  *dockerstore.Root
	records *dockerstore.Records
}

// look runs a command on a store and Docker's records.
func (p *place) look(run func(*shelf) error) (err error) {
	s := &shelf{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(p); err != nil {
		return err
	}
	return run(s)
}

func (s *shelf) open(p *place) (err error) {
	if s.host, err = p.find(); err != nil {
		return err
	}
	if s.dataset, err = datasetOf(s.host); err != nil {
		return err
	}
	if s.zfs, err = zfs.Open(); err != nil {
		return err
	}
	if s.view, err = viewOf(s.host); err != nil {
		return err
	}
	if err := ofDocker(s.view, s.dataset); err != nil {
		return err
	}
	if s.docker, err = dockerstore.Open(s.host.Root); err != nil {
		return fmt.Errorf("%w, with --root", err)
	}
	s.records, err = s.docker.Read(s.host.Driver)
	if errors.Is(err, fault.NotFound) {
		err = fmt.Errorf("%w; name the right one with --driver, or the data-root with --root", err)
	}
	return err
}

func viewOf(s host.Location) (*overlayzfs.StoreView, error) {
	if s.Dataset == "" {
		return overlayzfs.ViewHome(s.Home)
	}
	return overlayzfs.OpenDatasetReadOnly(s.Dataset)
}

// ofDocker refuses a store whose layers another engine keeps records of.
func ofDocker(view *overlayzfs.StoreView, dataset string) error {
	door, err := view.Door()
	if err == nil && door != "" {
		err = fault.New(fault.Unsupported, "the store on %s is kept by %s, which has records of its own: ask it (`ctr snapshots --snapshotter overlayzfs ls`)", dataset, door)
	}
	return err
}

func (s *shelf) close() error {
	var errs []error
	if s.docker != nil {
		errs = append(errs, s.docker.Close())
	}
	if s.view != nil {
		errs = append(errs, s.view.Close())
	}
	return errors.Join(append(errs, s.zfs.Close())...)
}

// inventory takes stock, without sizes. What is missing is looked for twice: a
// running dockerd may have removed it since its records were read, or made it
// between two of them.
func (s *shelf) inventory() (*inventory.Inventory, error) {
	inv, err := s.take()
	if err != nil || len(inv.Missing)+len(inv.Gaps) == 0 {
		return inv, err
	}
	if s.records, err = s.docker.Read(s.host.Driver); err != nil {
		return nil, err
	}
	again, err := s.take()
	if err != nil {
		return nil, err
	}
	again.Missing = slices.DeleteFunc(again.Missing, func(m inventory.Missing) bool {
		return !slices.ContainsFunc(inv.Missing, func(before inventory.Missing) bool { return before.ID == m.ID })
	})
	again.Gaps = slices.DeleteFunc(again.Gaps, func(g dockerstore.Gap) bool { return !slices.Contains(inv.Gaps, g) })
	return again, nil
}

func (s *shelf) take() (*inventory.Inventory, error) {
	seen, err := s.view.Layers()
	if err != nil {
		return nil, err
	}
	return inventory.Build(s.dataset, seen, s.records), nil
}

// measure finds out what the layers hold that are wanted.
func (s *shelf) measure(ctx context.Context, c console, inv *inventory.Inventory, want func(inventory.Layer) bool) error {
	var layers []*inventory.Layer
	for i := range inv.Layers {
		if want(inv.Layers[i]) {
			layers = append(layers, &inv.Layers[i])
		}
	}
	step, done := c.progress("measuring layers", int64(len(layers)))
	defer done()
	return inventory.Measurer{View: s.view, ZFS: s.zfs, Dataset: s.dataset}.Measure(ctx, layers, func() { step(1) })
}

// warn says on standard error which records could not be read.
func warn(c console, inv *inventory.Inventory) {
	for _, warning := range inv.Warnings {
		fmt.Fprintln(c.err, "warning: not read:", warning)
	}
	for _, gap := range inv.Gaps {
		fmt.Fprintln(c.err, "warning: in Docker's records", gap)
	}
	for _, missing := range inv.Missing {
		fmt.Fprintf(c.err, "warning: Docker knows layer %s (%s), which is not in the store\n", inventory.ShortID(missing.ID), users(missing.Users))
	}
}
