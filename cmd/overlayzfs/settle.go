package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// settle makes a received store this host's: the records get their place in the
// data-root, and layers of the other host's containers go. It can be cut short
// anywhere, and is then done again with --finish. What came is looked at before
// anything is done with it, and goes again if it is no store of ours.
func (f *receiveFlags) settle(ctx context.Context, z *zfs.Handle, where host.Location, mark overlayzfs.Receiving) (images int, err error) {
	err = overlayzfs.CheckReceived(where.Dataset)
	if errors.Is(err, fault.UnsafeInput) {
		return 0, f.reject(ctx, z, where, mark, err)
	}
	if err == nil {
		images, err = moveIn(ctx, where)
	}
	if err != nil {
		return 0, fmt.Errorf("the stream is received, and the rest is not done: %w: `%s` does it: %w", err, f.remedy(where), errUnfinished)
	}
	return images, nil
}

// settled says that all is done.
func settled(images int, where host.Location) string {
	return fmt.Sprintf("Done: %s. dockerd can be started with storage driver %s and overlayzfs.dataset=%s.", number(images, "image"), where.Driver, where.Dataset)
}

// remedy is the command that does the rest of an interrupted receive.
func (f *receiveFlags) remedy(where host.Location) string {
	command := fmt.Sprintf("overlayzfs receive --finish --yes --dataset %s --root %q --driver %q", where.Dataset, where.Root, where.Driver)
	if f.wanted.Config != "" && f.wanted.Config != f.config {
		command += fmt.Sprintf(" --config-file %q", f.wanted.Config)
	}
	if f.discard {
		command += " --discard"
	}
	return command
}

// finished is what receive --finish prints.
type finished struct {
	Dataset string `json:"dataset"`
	Root    string `json:"root"`
	Stream  string `json:"stream,omitempty"` // that was being received
	Gone    bool   `json:"gone,omitempty"`   // nothing of it is there: all is as it was before
	Images  int    `json:"images,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// resume does what an interrupted receive has left to do. What the data-root has
// got since, it does not lose unasked.
func (f *receiveFlags) resume(ctx context.Context, c console, z *zfs.Handle, where host.Location) error {
	mark, err := overlayzfs.ReceivingOn(z, where.Dataset)
	if err != nil {
		return err
	}
	if mark == nil {
		mark = &overlayzfs.Receiving{} // it was finished, and is done again
	}
	e := finished{Dataset: where.Dataset, Root: where.Root, Stream: mark.To, DryRun: f.dryRun}
	if mark.To != "" {
		e.Gone, err = f.abandon(ctx, z, where, *mark)
	}
	if err == nil && !e.Gone {
		e.Images, err = f.finishUp(ctx, c, z, where, *mark)
	}
	if err != nil {
		return err
	}
	return f.conclude(c, e, where)
}

// conclude says what came of it.
func (f *receiveFlags) conclude(c console, e finished, where host.Location) (err error) {
	switch {
	case f.json:
		err = writeJSON(c.out, e)
	case e.Gone && e.DryRun:
		_, err = fmt.Fprintf(c.out, "The stream %s is not there: %s would be as it was before.\n", e.Stream, e.Dataset)
	case e.Gone:
		_, err = fmt.Fprintf(c.out, "The stream %s is not there: %s is as it was before. Receive it again.\n", e.Stream, e.Dataset)
	case !e.DryRun:
		_, err = fmt.Fprintln(c.out, settled(e.Images, where))
	}
	return err
}

// finishUp looks at what was received, asks, and does the rest.
func (f *receiveFlags) finishUp(ctx context.Context, c console, z *zfs.Handle, where host.Location, mark overlayzfs.Receiving) (images int, err error) {
	switch err := overlayzfs.CheckReceived(where.Dataset); {
	case errors.Is(err, fault.UnsafeInput):
		return 0, f.reject(ctx, z, where, mark, err)
	case err != nil:
		return 0, err
	}
	if err := f.keepsAll(where, mark); err != nil {
		return 0, err
	}
	if !f.json {
		fmt.Fprintf(c.out, "Docker's records of what %s has received, to %s.\n", where.Dataset, where.Root)
	}
	if f.dryRun {
		return 0, nil
	}
	if err := f.agree(ctx, c, "Finish it?"); err != nil {
		return 0, err
	}
	return f.settle(ctx, z, where, mark)
}

// keepsAll refuses what would be lost by finishing. The data-root has either what
// went before the stream or already what came with it.
func (f *receiveFlags) keepsAll(where host.Location, mark overlayzfs.Receiving) error {
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

// moveIn installs what the store carries, and cleans it up.
func moveIn(ctx context.Context, where host.Location) (images int, err error) {
	images, strangers, err := install(where)
	if err != nil {
		return 0, err
	}
	return images, adopt(ctx, where, strangers)
}

// install puts the carried records into the data-root, and finds the layers that
// are in none.
func install(where host.Location) (images int, strangers []string, err error) {
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

// adopt makes the store this host's, without the layers of the other host's
// containers. That nothing is received any more is its last step.
func adopt(ctx context.Context, where host.Location, strangers []string) error {
	return opened(ctx, where, true, func(store *overlayzfs.Driver) error {
		for _, id := range strangers {
			if err := store.Remove(ctx, id); err != nil {
				return fmt.Errorf("layer %s, which came with the stream and is no image's: %w", id, err)
			}
		}
		return store.Adopt(ctx)
	})
}
