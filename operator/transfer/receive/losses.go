package receive

import (
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// findLosses returns what an incremental stream would delete: images that only this host
// has, and what has to be removed first. It compares with the records in the common
// snapshot, because the store's present records may have been sent from here since.
func findLosses(where host.Location, common string) (lost, first []string, err error) {
	known, err := readSnapshot(common)
	if err != nil {
		return nil, nil, err
	}
	lost, first, recorded, err := compareRecords(where, known)
	if err != nil || recorded || common == "" {
		return lost, first, err
	}
	view, err := overlayzfs.OpenDatasetReadOnly(where.Dataset)
	if err != nil {
		return nil, nil, err
	}
	seen, err := view.Layers()
	if err := errors.Join(err, view.Close()); err != nil {
		return nil, nil, err
	}
	return lost, refuseUnrecorded(where, transfer.FindUnrecordedLayers(seen, known)), nil
}

// refuseUnrecorded returns a reason to refuse when the stream would delete layers whose
// records are in another data-root.
func refuseUnrecorded(where host.Location, layers []string) []string {
	if len(layers) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the store has %s that did not come by a stream, and there are no records of driver %s in %s: name dockerd's data-root with --root, and its storage driver with --driver",
		count(len(layers), "layer"), where.Driver, where.Root)}
}

// readSnapshot returns the records that a store carried in a snapshot, or nil when there
// are none.
func readSnapshot(snap string) (*dockerstore.Records, error) {
	if snap == "" {
		return nil, nil
	}
	view, err := overlayzfs.OpenSnapshot(snap)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records, err := readRecords(view)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return records, errors.Join(err, view.Close())
}

// compareRecords returns the images in the data-root that no known records have, what has
// to be removed first, and whether the data-root has records of the driver at all.
func compareRecords(where host.Location, known ...*dockerstore.Records) (lost, first []string, recorded bool, err error) {
	local, err := readLocal(where)
	if err != nil || local == nil {
		return nil, nil, false, err
	}
	lost, first = transfer.FindConflicts(local, known...)
	return lost, first, true, nil
}

// readLocal returns the records in the data-root, or nil when dockerd never used the
// driver.
func readLocal(where host.Location) (*dockerstore.Records, error) {
	docker, err := dockerstore.Open(where.Root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	local, err := docker.Read(where.Driver)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return local, errors.Join(err, docker.Close())
}

// readRecords returns the records that a store carries.
func readRecords(view *overlayzfs.StoreView) (records *dockerstore.Records, err error) {
	err = useRecords(view, func(_ *dockerstore.Root, r *dockerstore.Records) error {
		records = r
		return nil
	})
	return records, err
}

// useRecords opens the records that a store carries, and calls run with them.
func useRecords(view *overlayzfs.StoreView, run func(*dockerstore.Root, *dockerstore.Records) error) (err error) {
	c, err := view.OpenCarried()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	docker, records, err := transfer.Unpack(c)
	if err != nil {
		return err
	}
	return errors.Join(run(docker, records), docker.Close())
}
