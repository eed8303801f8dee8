package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// CommitLayer makes the content of a layer that somebody else wrote durable, with
// what the door notes of it in record: a note on this dataset, which record
// syncs. The note is never on disk before the content is, and both are when Seal
// has answered. written says that all of it came by write(2): then no mapped
// memory has to be looked for.
func (d *Driver) CommitLayer(ctx context.Context, id string, written bool, record func() error) error {
	if err := checkID("layer", id); err != nil {
		return d.in("commit", id, err)
	}
	return d.on("commit", id, func(l layer) error {
		if err := l.require("layer"); err != nil {
			return err
		}
		if err := d.requireUnlimited(l, "be committed"); err != nil {
			return err
		}
		if err := d.seal(ctx, written, record); err != nil {
			return err
		}
		d.snapshots.Notify(snapshot.Committed)
		return nil
	})
}

// seal orders content and note: the note's own fsync puts it into the intent
// log, ahead of files that are in none. Only after the first wait does ZFS know
// what the content takes, which is noted.
func (d *Driver) seal(ctx context.Context, written bool, record func() error) error {
	if !written {
		if err := d.syncFiles(); err != nil {
			return err
		}
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	if d.intentLog().trusted {
		return nil // the note's fsync was worth something
	}
	return d.recorded(ctx)
}

// CommitNames makes durable what a door noted on this dataset, and the layers that
// it made with CreateOptions that leave this to it.
func (d *Driver) CommitNames(ctx context.Context) error {
	return d.in("wait for the disk", "", d.noted(ctx))
}

// WaitTxg waits for the transaction group, whatever it costs: only then can what
// was freed be used again.
func (d *Driver) WaitTxg(ctx context.Context) error {
	return d.in("wait for the disk", "", d.recorded(ctx))
}

// Rebase puts a layer that was made on nothing, and that nobody uses, on top of
// parent. It may be repeated.
func (d *Driver) Rebase(ctx context.Context, id, parent string) error {
	if err := checkPair(id, parent); err != nil {
		return d.in("rebase", id, err)
	}
	return d.on("rebase", id, func(l layer) error { return d.rebase(l, parent) })
}

func (d *Driver) rebase(l layer, parent string) error {
	if err := l.require("layer"); err != nil {
		return err
	}
	lowers, err := d.adopt(parent)
	if err != nil {
		return err
	}
	before, err := l.lowers()
	if err != nil {
		return err
	}
	if len(before) > 0 {
		if !slices.Equal(before, lowers) {
			return fault.New(fault.Invalid, "it stands on another layer already")
		}
		return nil
	}
	if err := d.makeRootDir(l.work(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return writeWhole(l.home.path(l.id, lowerName), []byte(strings.Join(lowers, ":")))
}
