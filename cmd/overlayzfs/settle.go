package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/dockerstore"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/site"
	"github.com/overlayzfs/overlayzfs/internal/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// compare says what the data-root has that goes with its store, and what has to go
// before it.
func compare(where site.Site, exists bool) (lost, first []string, err error) {
	docker, err := dockerstore.Open(where.Root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	local, err := docker.Read(where.Driver)
	if errors.Is(err, fault.NotFound) { // dockerd has never run with it
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var known *dockerstore.Records
	if exists {
		if known, err = carriedRecords(where.Dataset); err != nil && !errors.Is(err, fault.NotFound) {
			return nil, nil, err
		}
	}
	lost, first = transfer.Conflicts(local, known)
	return lost, first, nil
}

// carriedRecords are those that the store on a dataset carries.
func carriedRecords(dataset string) (records *dockerstore.Records, err error) {
	err = carried(dataset, func(_ *overlayzfs.View, _ *dockerstore.Root, r *dockerstore.Records) error {
		records = r
		return nil
	})
	return records, err
}

// carried shows the records that a store carries, as long as run lasts.
func carried(dataset string, run func(*overlayzfs.View, *dockerstore.Root, *dockerstore.Records) error) (err error) {
	view, err := overlayzfs.ViewDataset(dataset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	c, err := view.Carried()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	docker, records, err := transfer.Unpack(c)
	if err != nil {
		return err
	}
	return errors.Join(run(view, docker, records), docker.Close())
}

// settle makes a received store this host's: the records get their place in the
// data-root, and layers of the other host's containers go. It can be cut short
// anywhere, and is then done again with --finish.
func (f *receiveFlags) settle(ctx context.Context, c console, where site.Site) error {
	images, err := moveIn(ctx, where)
	if err != nil {
		return fmt.Errorf("the stream is received, and the rest is not done: %w: `overlayzfs receive --finish --dataset %s` does it: %w", err, where.Dataset, errUnfinished)
	}
	if !f.json {
		fmt.Fprintf(c.out, "Done: %s. dockerd can be started with storage driver %s and overlayzfs.dataset=%s.\n", number(images, "image"), where.Driver, where.Dataset)
	}
	return nil
}

// resume does what an interrupted receive has left to do. What the data-root has
// got since, it does not lose unasked.
func (f *receiveFlags) resume(ctx context.Context, c console, where site.Site) error {
	lost, first, err := compare(where, true)
	if err != nil {
		return err
	}
	if len(first) > 0 || len(lost) > 0 && !f.discard {
		return fmt.Errorf("this host has what would be lost (%q): %w", append(first, lost...), errRefused)
	}
	if !f.json {
		fmt.Fprintf(c.out, "Docker's records of what %s has received, to %s.\n", where.Dataset, where.Root)
	}
	if f.dryRun {
		return nil
	}
	if err := f.agree(ctx, c, "Finish it?"); err != nil {
		return err
	}
	return f.settle(ctx, c, where)
}

// moveIn installs what the store carries, and cleans it up.
func moveIn(ctx context.Context, where site.Site) (images int, err error) {
	var strangers []string
	err = carried(where.Dataset, func(view *overlayzfs.View, docker *dockerstore.Root, records *dockerstore.Records) error {
		images = len(records.Images)
		seen, err := view.Layers()
		if err != nil {
			return err
		}
		if strangers, err = transfer.Strangers(seen, records); err != nil {
			return err
		}
		return transfer.Install(where.Root, where.Driver, docker, records)
	})
	if err != nil {
		return 0, err
	}
	// What the driver would warn of are the other host's containers, which go now.
	logrus.SetLevel(logrus.ErrorLevel)
	return images, opened(ctx, where, func(store *overlayzfs.Driver) error { return adopt(ctx, store, strangers) })
}

// adopt makes the store this host's.
func adopt(ctx context.Context, store *overlayzfs.Driver, strangers []string) error {
	for _, id := range strangers {
		if err := store.Remove(ctx, id); err != nil {
			return fmt.Errorf("layer %s, which came with the stream and is no image's: %w", id, err)
		}
	}
	return errors.Join(store.Adopt(), store.Reaped(ctx))
}
