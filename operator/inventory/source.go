package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Source is a store and Docker's records of it, open for reading. dockerd may run.
type Source struct {
	Where   host.Location
	Dataset string // holds the store
	ZFS     *zfs.Handle
	View    *overlayzfs.StoreView
	Docker  *dockerstore.Root
	Records *dockerstore.Records
}

// OpenSource opens the store at where and reads Docker's records of it. It fails with
// fault.Unsupported on a store whose layers another engine than Docker records.
func OpenSource(where host.Location) (*Source, error) {
	s := &Source{Where: where}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) open() (err error) {
	if s.Dataset, err = s.Where.LayersDataset(); err != nil {
		return err
	}
	if s.ZFS, err = zfs.Open(); err != nil {
		return err
	}
	if s.View, err = s.Where.OpenView(); err != nil {
		return err
	}
	if err := s.checkDoor(); err != nil {
		return err
	}
	if s.Docker, err = dockerstore.Open(s.Where.Root); err != nil {
		return fmt.Errorf("%w, with --root", err)
	}
	err = s.Reread()
	if errors.Is(err, fault.NotFound) {
		err = fmt.Errorf("%w; name the right one with --driver, or the data-root with --root", err)
	}
	return err
}

// checkDoor refuses a store whose layers another engine records.
func (s *Source) checkDoor() error {
	door, err := s.View.Door()
	if err == nil && door != "" {
		err = fault.New(fault.Unsupported, "%s keeps the records of the store on %s, not Docker: ask it (`ctr snapshots --snapshotter overlayzfs ls`)", door, s.Dataset)
	}
	return err
}

// Reread reads Docker's records again.
func (s *Source) Reread() error {
	records, err := s.Docker.Read(s.Where.Driver)
	if err == nil {
		s.Records = records
	}
	return err
}

// Close closes what is open.
func (s *Source) Close() error {
	var errs []error
	if s.Docker != nil {
		errs = append(errs, s.Docker.Close())
	}
	if s.View != nil {
		errs = append(errs, s.View.Close())
	}
	return errors.Join(append(errs, s.ZFS.Close())...)
}

// Inventory lists the layers, without sizes. A running dockerd may remove a layer
// after its records are read, or add one between two reads. So Inventory reads twice
// before it reports a layer or a record as missing.
func (s *Source) Inventory() (*Inventory, error) {
	inv, err := s.take()
	if err != nil || len(inv.Missing)+len(inv.Gaps) == 0 {
		return inv, err
	}
	if err := s.Reread(); err != nil {
		return nil, err
	}
	again, err := s.take()
	if err != nil {
		return nil, err
	}
	again.Missing = slices.DeleteFunc(again.Missing, func(m Missing) bool {
		return !slices.ContainsFunc(inv.Missing, func(before Missing) bool { return before.ID == m.ID })
	})
	again.Gaps = slices.DeleteFunc(again.Gaps, func(g dockerstore.Gap) bool { return !slices.Contains(inv.Gaps, g) })
	return again, nil
}

func (s *Source) take() (*Inventory, error) {
	seen, err := s.View.Layers()
	if err != nil {
		return nil, err
	}
	return Build(s.Dataset, seen, s.Records), nil
}

// Totals sums up a measured inventory, the dataset, its snapshots and the pool.
func (s *Source) Totals(inv *Inventory) (t Totals, err error) {
	pool, _, _ := strings.Cut(s.Dataset, "/")
	if err := t.Measure(s.ZFS, s.Dataset, pool); err != nil {
		return t, err
	}
	infos, err := snapshot.List(s.ZFS, s.Dataset)
	if err != nil {
		return t, err
	}
	t.Snapshots = Snapshots{Count: len(infos), Used: t.Space.Snapshots}
	if s.Where.Dataset == "" {
		t.measureLayers(inv)
	}
	inv.CountGroups(&t, s.Records)
	t.Overcommit = inv.ComputeOvercommit(s.Records, t.Space.Available)
	return t, nil
}
