package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Store takes the copies. A layer is in it completely or not at all, except one with a
// limit.
type Store interface {
	Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error
	Fill(ctx context.Context, id string, write func(dir *os.File) error) error
	Remove(ctx context.Context, id string) error
	Layers(ctx context.Context) ([]string, error)
	WaitReaper(ctx context.Context) error
}

// carrier copies layers from a source to a store.
type carrier struct {
	job      *Job
	root     *dataRoot
	docker   *dockerstore.Root
	records  *dockerstore.Records
	source   source
	store    Store
	progress func(n int64)

	mu           sync.Mutex
	items        map[string]item
	childrenLeft map[string]int          // by layer: how many of its children are not copied yet
	notes        []string                // what the operator has to know about images
	blobs        map[digest.Digest]int64 // of an Import: sizes of layers' tars, by digest
}

// carry copies every layer that is not in the store yet.
//
// Image layers never change, so those of an earlier run stay. Containers may have run
// since, so their layers are copied again, unless the old layer is deleted.
func (c *carrier) carry(ctx context.Context, items []item) error {
	there, err := c.removeStale(ctx, items)
	if err != nil {
		return err
	}
	c.items = indexByID(items)
	c.childrenLeft = map[string]int{}
	for _, it := range items {
		c.childrenLeft[it.parent]++
	}
	err = runInOrder(ctx, items, func(ctx context.Context, it item) error {
		if err := c.writeBlob(ctx, it); err != nil {
			return c.explainError(it, err)
		}
		if there[it.id] {
			c.progress(it.size)
		} else if err := c.carryLayer(ctx, it); err != nil {
			return c.explainError(it, err)
		}
		return c.reclaimSource(ctx, it, c.items)
	})
	if err != nil {
		return err
	}
	return c.store.WaitReaper(ctx)
}

// removeStale removes the layers of an earlier run that have to be copied again, and
// returns the others.
func (c *carrier) removeStale(ctx context.Context, items []item) (map[string]bool, error) {
	layers, err := c.store.Layers(ctx)
	if err == nil {
		err = c.claimStore(ctx, layers)
	}
	if err != nil {
		return nil, err
	}
	var bad []string
	wanted, good := indexByID(items), map[string]bool{}
	for _, id := range c.job.Reclaimed {
		if !slices.Contains(layers, id) {
			return nil, fault.New(fault.NotFound, "layer %s is missing in the store, and the old layer was deleted after the copy: restore it from a backup", id)
		}
		good[id] = true
	}
	for _, id := range layers {
		it, ok := wanted[id]
		if ok && it.image != nil || good[id] || c.keepsLayer(it) {
			good[id] = true
			continue
		}
		bad = append(bad, id)
	}
	return good, removeAll(ctx, bad, c.store.Remove)
}

// claimStore fails when the store held layers before this job. Later the job may remove
// every layer that it finds there.
func (c *carrier) claimStore(ctx context.Context, layers []string) error {
	if c.job.StoreWasEmpty || c.job.Method == Import {
		return nil
	}
	if len(layers) > 0 {
		return fault.New(fault.Exists, "the store holds %d layers that Docker does not know here (such as %s): revert the migration with --undo, give the plugin an empty dataset, and start again", len(layers), layers[0])
	}
	c.job.StoreWasEmpty = true
	return c.job.saveDurably(ctx, c.root)
}

// runInOrder calls run for every item, several at once, and for each item only after its
// parent.
func runInOrder(ctx context.Context, items []item, run func(context.Context, item) error) error {
	done := make(map[string]chan struct{}, len(items))
	for _, it := range items {
		done[it.id] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	// An item starts after its parent has started, so the limit cannot deadlock.
	group.SetLimit(maxParallel())
	for _, it := range items {
		group.Go(func() error {
			if below, ok := done[it.parent]; ok {
				select {
				case <-below:
				case <-ctx.Done():
				}
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := run(ctx, it); err != nil {
				return err
			}
			close(done[it.id])
			return nil
		})
	}
	return group.Wait()
}

// carryLayer creates one layer in the store and copies its content. An image layer whose
// tar cannot be made again or applied is copied once more, as a tree.
func (c *carrier) carryLayer(ctx context.Context, it item) error {
	if it.image == nil || c.job.To == "zfs" {
		return c.createFilled(ctx, it, c.copyLayer)
	}
	if c.source.isUpperOnly() {
		err := c.createFilled(ctx, it, c.copyLayer)
		if !errors.Is(err, fault.Unsupported) {
			return err
		}
		return c.createFilled(ctx, it, func(ctx context.Context, it item, dir, layer *os.File) error {
			return c.copyMerged(ctx, it, dir, layer, err.Error())
		})
	}
	reason, err := c.findTreeReason(it)
	if err != nil {
		return err
	}
	if reason == "" {
		err := c.createFilled(ctx, it, c.unpackImage)
		if err == nil || ctx.Err() != nil {
			return err
		}
		reason = err.Error()
	}
	return c.createFilled(ctx, it, func(ctx context.Context, it item, dir, layer *os.File) error {
		return c.copyTree(ctx, it, dir, layer, reason)
	})
}

// createFilled creates a layer in the store and fills it from the old one. A layer that
// cannot be filled is removed again: the next run must not take it for complete.
func (c *carrier) createFilled(ctx context.Context, it item, fill func(ctx context.Context, it item, dir, layer *os.File) error) error {
	limited := len(it.limit) > 0
	o := overlayzfs.CreateOptions{StorageOpt: it.limit, ReadWrite: limited}
	if err := c.store.Create(ctx, it.id, it.parent, o); err != nil {
		return err
	}
	err := c.fillFrom(ctx, it, fill)
	if err != nil {
		err = errors.Join(err, c.store.Remove(context.WithoutCancel(ctx), it.id))
	}
	return err
}

func (c *carrier) fillFrom(ctx context.Context, it item, fill func(ctx context.Context, it item, dir, layer *os.File) error) (err error) {
	layer, err := c.source.openLayer(it.id)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := layer.Close(); err == nil {
			err = closeErr
		}
	}()
	return c.store.Fill(ctx, it.id, func(dir *os.File) error { return fill(ctx, it, dir, layer.File) })
}

// copyLayer copies a layer that is not made of its tar: a container's, and one of a driver
// that stacks layers as the store does.
func (c *carrier) copyLayer(ctx context.Context, it item, dir, layer *os.File) error {
	switch {
	case c.job.To == "zfs":
		if err := treecopy.MergeUpper(ctx, dir, layer, treecopy.Options{}); err != nil || it.image == nil {
			return err
		}
		return c.proveCopy(ctx, it, dir, layer)
	case c.source.isUpperOnly():
		if err := treecopy.Upper(ctx, dir, layer, treecopy.Options{Copied: c.progress}); err != nil || it.image == nil {
			return err
		}
		return c.proveCopy(ctx, it, dir, layer)
	}
	return c.withParent(it, func(below *os.File) error {
		found, err := treediff.Exact(ctx, layer, below, isCloningDriver(c.job.From))
		if err != nil {
			return err
		}
		return treecopy.Changes(ctx, dir, layer, found.Changes, treecopy.Options{})
	})
}

// withParent calls run with the old layer below, or nil.
func (c *carrier) withParent(it item, run func(below *os.File) error) (err error) {
	if it.parent == "" {
		return run(nil)
	}
	parent, err := c.source.openLayer(it.parent)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := parent.Close(); err == nil {
			err = closeErr
		}
	}()
	return run(parent.File)
}

// isCloningDriver reports whether a driver clones the parent's tree in the file system,
// so that unchanged files keep their inode numbers. vfs copies them instead.
func isCloningDriver(driver string) bool { return driver == "zfs" || driver == "btrfs" }

// explainError adds whose layer it is, and what to do.
func (c *carrier) explainError(it item, err error) error {
	if it.image == nil {
		return fmt.Errorf("the writable layer %s of container %.12s: %w", it.id, it.owner, err)
	}
	return fmt.Errorf("layer %s of %s: %w; leave the image out with --skip, or remove it with the driver %s", it.id, imageNames(c.records, it.image.Chain), err, c.job.From)
}

// addNote adds a note about an image.
func (c *carrier) addNote(it item, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("layer %.12s of %s ", it.id, imageNames(c.records, it.image.Chain)) + fmt.Sprintf(format, args...)
	c.notes = append(c.notes, fault.Printable(text))
}

// countingWriter reports how many bytes are written to it.
type countingWriter func(n int64)

func (c countingWriter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}
