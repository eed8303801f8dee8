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
	"github.com/overlayzfs/overlayzfs/zfs"
)

// settle makes a received store this host's: the records get their place in the
// data-root, and layers of the other host's containers go. It can be cut short
// anywhere, and is then done again with --finish. What came is looked at before
// anything is done with it, and goes again if it is no store of ours.
func (f *receiveFlags) settle(ctx context.Context, c console, z *zfs.Handle, where site.Site, mark overlayzfs.Receiving) error {
	err := overlayzfs.CheckReceived(where.Dataset)
	if errors.Is(err, fault.UnsafeInput) {
		return f.reject(ctx, z, where, mark, err)
	}
	images := 0
	if err == nil {
		images, err = moveIn(ctx, where)
	}
	if err != nil {
		return fmt.Errorf("the stream is received, and the rest is not done: %w: `%s` does it: %w", err, f.remedy(where), errUnfinished)
	}
	if !f.json {
		fmt.Fprintf(c.out, "Done: %s. dockerd can be started with storage driver %s and overlayzfs.dataset=%s.\n", number(images, "image"), where.Driver, where.Dataset)
	}
	return nil
}

// remedy is the command that does the rest of an interrupted receive.
func (f *receiveFlags) remedy(where site.Site) string {
	command := fmt.Sprintf("overlayzfs receive --finish --yes --dataset %s --root %q --driver %q", where.Dataset, where.Root, where.Driver)
	if f.wanted.Config != "" && f.wanted.Config != f.config {
		command += fmt.Sprintf(" --config-file %q", f.wanted.Config)
	}
	if f.discard {
		command += " --discard"
	}
	return command
}

// resume does what an interrupted receive has left to do. What the data-root has
// got since, it does not lose unasked.
func (f *receiveFlags) resume(ctx context.Context, c console, z *zfs.Handle, where site.Site) error {
	mark, err := overlayzfs.ReceivingOn(z, where.Dataset)
	if err != nil {
		return err
	}
	if mark == nil {
		mark = &overlayzfs.Receiving{} // it was finished, and is done again
	} else if gone, err := f.abandon(ctx, c, z, where, *mark); gone || err != nil {
		return err
	}
	switch err := overlayzfs.CheckReceived(where.Dataset); {
	case errors.Is(err, fault.UnsafeInput):
		return f.reject(ctx, z, where, *mark, err)
	case err != nil:
		return err
	}
	if err := f.keepsAll(where, *mark); err != nil {
		return err
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
	return f.settle(ctx, c, z, where, *mark)
}

// keepsAll refuses what would be lost by finishing. The data-root has either what
// went before the stream or already what came with it.
func (f *receiveFlags) keepsAll(where site.Site, mark overlayzfs.Receiving) error {
	from := ""
	if mark.From != "" {
		from = where.Dataset + "@" + mark.From
	}
	known, err := carriedSince(from)
	if err != nil {
		return err
	}
	view, err := overlayzfs.ViewDataset(where.Dataset)
	if err != nil {
		return err
	}
	came, err := recordsOf(view)
	if err := errors.Join(err, view.Close()); err != nil {
		return err
	}
	lost, first, _, err := compare(where, came, known)
	if err != nil {
		return err
	}
	if len(first) > 0 || len(lost) > 0 && !f.discard {
		return fmt.Errorf("this host has what would be lost (%q; images only go with --discard): %w", append(first, lost...), errRefused)
	}
	return nil
}

// abandon ends a receive that has nothing to finish: ZFS was interrupted and has
// kept nothing, or what came was not taken.
func (f *receiveFlags) abandon(ctx context.Context, c console, z *zfs.Handle, where site.Site, mark overlayzfs.Receiving) (gone bool, err error) {
	there, err := z.Exists(where.Dataset + "@" + mark.To)
	if err != nil || there && !mark.Refused {
		return false, err
	}
	if f.dryRun {
		fmt.Fprintf(c.out, "The stream %s is not there: %s would be as it was before.\n", mark.To, where.Dataset)
		return true, nil
	}
	if mark.Refused {
		err = f.expel(ctx, z, where, mark)
	} else {
		err = overlayzfs.Unmark(z, where.Dataset)
	}
	if err == nil && !f.json {
		fmt.Fprintf(c.out, "The stream %s is not there: %s is as it was before. Receive it again.\n", mark.To, where.Dataset)
	}
	return true, err
}

// reject removes a store that is no store of ours. One that is not being received
// stays: it has been here before.
func (f *receiveFlags) reject(ctx context.Context, z *zfs.Handle, where site.Site, mark overlayzfs.Receiving, why error) error {
	if mark.To == "" || f.dryRun {
		return why
	}
	return errors.Join(fmt.Errorf("what was received is not taken: %w", why), f.expel(ctx, z, where, mark))
}

// expel removes what was received. The mark is there until the last of it is gone,
// and says that it is to go.
func (f *receiveFlags) expel(ctx context.Context, z *zfs.Handle, where site.Site, mark overlayzfs.Receiving) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("it could not be removed, and no driver opens it: `%s` does it: %w: %w", f.remedy(where), err, errUnfinished)
		}
	}()
	mark.Refused = true
	if err := mark.Mark(z, where.Dataset); err != nil {
		return err
	}
	if err := z.DestroySnapshots([]string{where.Dataset + "@" + mark.To}, false); err != nil {
		return err
	}
	if mark.From == "" {
		return z.DestroyRetry(ctx, where.Dataset)
	}
	if err := z.Rollback(ctx, where.Dataset, where.Dataset+"@"+mark.From); err != nil {
		return err
	}
	return overlayzfs.Unmark(z, where.Dataset)
}

// moveIn installs what the store carries, and cleans it up.
func moveIn(ctx context.Context, where site.Site) (images int, err error) {
	images, strangers, err := install(where)
	if err != nil {
		return 0, err
	}
	// What the driver would warn of are the other host's containers, which go now.
	logrus.SetLevel(logrus.ErrorLevel)
	return images, opened(ctx, where, true, func(store *overlayzfs.Driver) error { return adopt(ctx, store, strangers) })
}

// install puts the carried records into the data-root, and finds the layers that
// are in none.
func install(where site.Site) (images int, strangers []string, err error) {
	view, err := overlayzfs.ViewDataset(where.Dataset)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	err = unpacked(view, func(docker *dockerstore.Root, records *dockerstore.Records) error {
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
	return images, strangers, err
}

// adopt makes the store this host's.
func adopt(ctx context.Context, store *overlayzfs.Driver, strangers []string) error {
	for _, id := range strangers {
		if err := store.Remove(ctx, id); err != nil {
			return fmt.Errorf("layer %s, which came with the stream and is no image's: %w", id, err)
		}
	}
	return store.Adopt(ctx)
}
