package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Store is where layers are carried to. A layer is there whole or not at all,
// one with a limit excepted.
type Store interface {
	Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error
	ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error)
	Fill(ctx context.Context, id string, write func(dir *os.File) error) error
	Remove(ctx context.Context, id string) error
	Layers(ctx context.Context) ([]string, error)
	WaitReaper(ctx context.Context) error
}

// carrier carries layers over.
type carrier struct {
	job         *Job
	root        *dataRoot
	docker      *dockerstore.Root
	records     *dockerstore.Records
	source      source
	store       Store
	shareBlocks bool // blocks of files can be shared with the old ones
	progress    func(n int64)

	mu           sync.Mutex
	childrenLeft map[string]int // how many that stand on a layer are still to be carried
}

// carry brings every layer to the store that is not there yet.
//
// Image layers never change, so what a run before left is kept. Containers may
// have run in between, so theirs are carried again: unless the old one is gone.
func (c *carrier) carry(ctx context.Context, items []item) error {
	there, err := c.removeStale(ctx, items)
	if err != nil {
		return err
	}
	below := indexByID(items)
	c.childrenLeft = map[string]int{}
	for _, it := range items {
		c.childrenLeft[it.parent]++
	}
	err = runInOrder(ctx, items, func(ctx context.Context, it item) error {
		if there[it.id] {
			c.progress(it.size)
		} else if err := c.carryLayer(ctx, it); err != nil {
			return c.explainError(it, err)
		}
		return c.reclaimSource(ctx, it, below)
	})
	if err != nil {
		return err
	}
	return c.store.WaitReaper(ctx)
}

// removeStale removes what a run before left and is no good, and says what is.
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
			return nil, fault.New(fault.NotFound, "layer %s is gone from the store, and the old one was deleted when it was carried", id)
		}
		good[id] = true
	}
	for _, id := range layers {
		it, ok := wanted[id]
		if ok && it.image != nil || good[id] {
			good[id] = true
			continue
		}
		bad = append(bad, id)
	}
	return good, removeAll(ctx, bad, c.store.Remove)
}

// claimStore makes sure that the store holds nobody else's layers: those of this job may
// be removed again.
func (c *carrier) claimStore(ctx context.Context, layers []string) error {
	if c.job.StoreWasEmpty {
		return nil
	}
	if len(layers) > 0 {
		return fault.New(fault.Exists, "the store holds %d layers that Docker does not know here, %s for one: give the plugin an empty dataset, and begin again after --undo", len(layers), layers[0])
	}
	c.job.StoreWasEmpty = true
	return c.job.saveDurably(ctx, c.root)
}

// runInOrder runs something for every item, several at once, for none before it was
// done for the one below.
func runInOrder(ctx context.Context, items []item, run func(context.Context, item) error) error {
	done := make(map[string]chan struct{}, len(items))
	for _, it := range items {
		done[it.id] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	// Who waits has begun after the one it waits for: all can never wait.
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

// carryLayer carries one layer.
func (c *carrier) carryLayer(ctx context.Context, it item) error {
	limited := len(it.limit) > 0
	o := overlayzfs.CreateOptions{StorageOpt: it.limit, ReadWrite: limited}
	if err := c.store.Create(ctx, it.id, it.parent, o); err != nil {
		return err
	}
	err := c.copyContent(ctx, it)
	if err != nil { // the next run must not take it for whole
		err = errors.Join(err, c.store.Remove(context.WithoutCancel(ctx), it.id))
	}
	return err
}

func (c *carrier) copyContent(ctx context.Context, it item) (err error) {
	layer, err := c.source.openLayer(it.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layer.Close()) }()
	switch {
	case c.job.To == "zfs":
		return c.store.Fill(ctx, it.id, func(dir *os.File) error { return c.changeClone(ctx, it, dir, layer.File) })
	case c.source.isUpperOnly() && (c.shareBlocks || it.image == nil):
		return c.store.Fill(ctx, it.id, func(dir *os.File) error {
			return treecopy.Upper(ctx, dir, layer.File, treecopy.Options{Copied: c.progress})
		})
	case it.image != nil:
		return c.unpackImage(ctx, it, layer.File)
	}
	return c.copyChanges(ctx, it, layer.File)
}

// changeClone changes a copy of all that the layer below shows, on the way back to a driver
// of clones. Of an image's layer the digest is compared.
func (c *carrier) changeClone(ctx context.Context, it item, dir, layer *os.File) error {
	if err := treecopy.Onto(ctx, dir, layer, treecopy.Options{}); err != nil || it.image == nil {
		return err
	}
	return c.writeTar(io.Discard, it, dir)
}

// copyChanges writes what a container has changed, found by comparing all that it
// shows with all that the layer below shows.
func (c *carrier) copyChanges(ctx context.Context, it item, layer *os.File) (err error) {
	var below *os.File
	if it.parent != "" {
		parent, err := c.source.openLayer(it.parent)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, parent.Close()) }()
		below = parent.File
	}
	found, err := treediff.Exact(ctx, layer, below, isCloningDriver(c.job.From))
	if err != nil {
		return err
	}
	return c.store.Fill(ctx, it.id, func(dir *os.File) error {
		return treecopy.Changes(ctx, dir, layer, found.Changes, treecopy.Options{})
	})
}

// isCloningDriver reports whether a driver has the file system make a layer's tree of the one
// below, so that files which nobody touched have the same inodes. vfs copies them.
func isCloningDriver(driver string) bool { return driver == "zfs" || driver == "btrfs" }

// explainError says whose layer it is, and what to do about it.
func (c *carrier) explainError(it item, err error) error {
	var difference rebuild.Difference
	switch {
	case it.image == nil:
		return fmt.Errorf("the writable layer %s of container %.12s: %w", it.id, it.owner, err)
	case errors.As(err, &difference):
		return fmt.Errorf("layer %s of %s: its files are not what Docker recorded: %w; start dockerd with the driver %s, remove the image and pull or build it again", it.id, imageNames(c.records, it.image.Chain), err, c.job.From)
	}
	return fmt.Errorf("layer %s of %s: %w", it.id, imageNames(c.records, it.image.Chain), err)
}

// reclaimSource deletes the old layer when it and all that stands on it are carried,
// and then perhaps the one below. That it is going is noted first.
func (c *carrier) reclaimSource(ctx context.Context, it item, items map[string]item) error {
	if !c.job.Reclaim {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ok := true; ok && c.childrenLeft[it.id] == 0; it, ok = items[it.parent] {
		if err := c.deleteSource(ctx, it.id); err != nil {
			return err
		}
		c.childrenLeft[it.parent]--
	}
	return nil
}

func (c *carrier) deleteSource(ctx context.Context, id string) error {
	if !slices.Contains(c.job.Reclaimed, id) {
		c.job.Reclaimed = append(c.job.Reclaimed, id)
		if err := c.job.saveDurably(ctx, c.root); err != nil {
			return err
		}
	}
	err := c.source.deleteLayer(ctx, id)
	if errors.Is(err, fault.Busy) {
		return nil // a build's cache stands on it; it goes in the end
	}
	return err
}
