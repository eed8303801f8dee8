package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Source is a store and its engine's records of it, open for reading. The engine may run.
type Source struct {
	Where   host.Location
	Dataset string // holds the store
	ZFS     *zfs.Handle
	View    *overlayzfs.StoreView
	// Docker and Records are of a plugin's store; nil for a snapshotter's.
	Docker  *dockerstore.Root
	Records *dockerstore.Records
	// Root and Containerd are of a snapshotter's store; nil for a plugin's. Root is also
	// nil where no containerd has used the store yet.
	Root       *containerdstore.Root
	Containerd *Containerd

	records *Records
}

// OpenSource opens the store at where and reads its engine's records of it.
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
	door, err := s.View.Door()
	switch {
	case err != nil:
		return err
	case door == "":
		return s.openDocker()
	case door == containerdstore.Door:
		return s.openContainerd()
	}
	return fault.New(fault.Unsupported, "%s is the store of an unknown engine, %q", s.Dataset, door)
}

func (s *Source) openDocker() (err error) {
	if s.Docker, err = dockerstore.Open(s.Where.Root); err != nil {
		return fmt.Errorf("%w, with --root", err)
	}
	err = s.Reread()
	if errors.Is(err, fault.NotFound) {
		err = fmt.Errorf("%w; name the right one with --driver, or the data-root with --root", err)
	}
	return err
}

// Reread reads the engine's records again.
func (s *Source) Reread() error {
	if s.Docker == nil {
		return s.rereadContainerd()
	}
	records, err := s.Docker.Read(s.Where.Driver)
	if err == nil {
		s.Records, s.records = records, FromDocker(records)
	}
	return err
}

// RequireDocker returns fault.Unsupported for a snapshotter's store, whose layers only
// containerd records. verb is what was asked for.
func (s *Source) RequireDocker(verb string) error {
	if s.Docker != nil {
		return nil
	}
	return fault.New(fault.Unsupported, "%s needs Docker's own records, and containerd keeps those of the store on %s: docs/containerd.md lists the commands that work on it", verb, s.Dataset)
}

// Close closes what is open.
func (s *Source) Close() error {
	var errs []error
	if s.Docker != nil {
		errs = append(errs, s.Docker.Close())
	}
	if s.Root != nil {
		errs = append(errs, s.Root.Close())
	}
	if s.View != nil {
		errs = append(errs, s.View.Close())
	}
	return errors.Join(append(errs, s.ZFS.Close())...)
}

// Inventory lists the layers, without sizes. A running engine may remove a layer after its
// records are read, or add one between two reads. So Inventory reads twice before it
// reports a layer or a record as missing.
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
	return Build(s.Dataset, seen, s.records), nil
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
	inv.CountGroups(&t)
	t.Overcommit = inv.ComputeOvercommit(t.Space.Available)
	return t, nil
}
