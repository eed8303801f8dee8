package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// CommitLayer makes a layer's content durable, and then the door's record of it. The
// caller has mounted the layer and written the content. record writes to this dataset and
// syncs. The record is never on disk before the content, and both are when CommitLayer has
// answered. writeOnly says that all content came by write(2), so that no mapped memory has
// to be flushed.
func (d *Driver) CommitLayer(ctx context.Context, id string, writeOnly bool, record func() error) error {
	return d.runLocked(ctx, "commit", id, func(l layer) error {
		if err := l.requireExists("layer"); err != nil {
			return err
		}
		if err := d.requireUnlimited(l, "be committed"); err != nil {
			return err
		}
		if err := d.commitContent(ctx, writeOnly, record); err != nil {
			return err
		}
		d.unwatch(l)
		d.snapshots.Notify(snapshot.Committed)
		return nil
	})
}

// commitContent orders content and record. The record's own fsync puts it into the intent
// log, ahead of content that is in no log, so content goes first. Only after that wait does
// ZFS know the size that the record contains.
func (d *Driver) commitContent(ctx context.Context, writeOnly bool, record func() error) error {
	if !writeOnly {
		if err := d.commitLog(); err != nil {
			return err
		}
	}
	if err := d.waitTxg(ctx); err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	if d.readIntentLog().trusted {
		return nil // the record's own fsync made it durable
	}
	return d.waitTxg(ctx)
}

// Rebase puts an unused base layer on top of parent. It may be repeated.
func (d *Driver) Rebase(ctx context.Context, id, parent string) error {
	if err := checkIDs(id, parent); err != nil {
		return d.addContext("rebase", id, err)
	}
	// One lock after the other: two calls on the same two layers must not wait for each other.
	lowers, err := runLockedFor(ctx, d, "rebase", parent, func(p layer) ([]string, error) {
		before, err := d.home.layer(id).readLowers()
		if err != nil {
			return nil, err
		}
		if len(before) > 0 {
			return p.stackForChild() // done already, or refused
		}
		return d.commit(p)
	})
	if err != nil {
		return err
	}
	return d.runLocked(ctx, "rebase", id, func(l layer) error { return d.rebase(l, lowers) })
}

func (d *Driver) rebase(l layer, lowers []string) error {
	if err := l.requireExists("layer"); err != nil {
		return err
	}
	before, err := l.readLowers()
	if err != nil {
		return err
	}
	if len(before) > 0 {
		if !slices.Equal(before, lowers) {
			return fault.New(fault.Invalid, "the layer is on top of another layer already")
		}
		return nil
	}
	// A layer with children could become a layer below itself.
	if _, err := os.Lstat(l.committed()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fault.New(fault.Invalid, "the layer has children, and remains a base layer"))
	}
	if err := d.makeRootDir(l.work(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replaceFile(l.home.path(l.id, lowerName), []byte(strings.Join(lowers, ":")))
}
