package migrate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/operator/verify"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Store takes the copies. A layer is in it completely or not at all, except one with a
// limit.
type Store interface {
	Create(ctx context.Context, id, parent string, o overlayzfs.CreateOptions) error
	ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error)
	Fill(ctx context.Context, id string, write func(dir *os.File) error) error
	Remove(ctx context.Context, id string) error
	Layers(ctx context.Context) ([]string, error)
	WaitReaper(ctx context.Context) error
}

// carrier copies layers from a source to a store.
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
	childrenLeft map[string]int // by layer: how many of its children are not copied yet
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
		if ok && it.image != nil || good[id] {
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
	if c.job.StoreWasEmpty {
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

// carryLayer creates one layer in the store and copies its content.
func (c *carrier) carryLayer(ctx context.Context, it item) error {
	limited := len(it.limit) > 0
	o := overlayzfs.CreateOptions{StorageOpt: it.limit, ReadWrite: limited}
	if err := c.store.Create(ctx, it.id, it.parent, o); err != nil {
		return err
	}
	err := c.copyContent(ctx, it)
	if err != nil { // the next run must not take the layer for complete
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

// changeClone applies a layer to a clone of its parent, on the way back to the zfs
// driver. It compares the digest of an image layer.
func (c *carrier) changeClone(ctx context.Context, it item, dir, layer *os.File) error {
	if err := treecopy.MergeUpper(ctx, dir, layer, treecopy.Options{}); err != nil || it.image == nil {
		return err
	}
	return c.writeTar(io.Discard, it, dir)
}

// copyChanges writes what a container has changed: the difference between the layer's
// tree and its parent's.
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

// isCloningDriver reports whether a driver clones the parent's tree in the file system,
// so that unchanged files keep their inode numbers. vfs copies them instead.
func isCloningDriver(driver string) bool { return driver == "zfs" || driver == "btrfs" }

// explainError adds whose layer it is, and what to do.
func (c *carrier) explainError(it item, err error) error {
	var difference rebuild.Difference
	switch {
	case it.image == nil:
		return fmt.Errorf("the writable layer %s of container %.12s: %w", it.id, it.owner, err)
	case errors.As(err, &difference):
		return fmt.Errorf("layer %s of %s: its files differ from Docker's record: %w; start dockerd with the driver %s, remove the image, and pull or build it again", it.id, imageNames(c.records, it.image.Chain), err, c.job.From)
	}
	return fmt.Errorf("layer %s of %s: %w", it.id, imageNames(c.records, it.image.Chain), err)
}

// unpackImage rebuilds an image layer's tar from Docker's record and the old layer's
// files, and unpacks it. The stream ends without an error, and the layer stays, only
// when the digest is the recorded one.
func (c *carrier) unpackImage(ctx context.Context, it item, layer *os.File) error {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out := bufio.NewWriterSize(w, 1<<20)
		err := c.writeTar(out, it, layer)
		if err == nil {
			err = out.Flush()
		}
		w.CloseWithError(err)
	}()
	_, err := c.store.ApplyDiff(ctx, it.id, it.parent, r)
	r.CloseWithError(errors.Join(io.ErrClosedPipe, err))
	<-ended
	return err
}

// writeTar rebuilds an image layer's tar and compares its digest.
func (c *carrier) writeTar(w io.Writer, it item, layer *os.File) error {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return err
	}
	err = rebuild.WriteTar(io.MultiWriter(w, countingWriter(c.progress)), record, treestack.Layer{Dir: layer}, it.image.Diff)
	return errors.Join(err, record.Close())
}

// countingWriter reports how many bytes are written to it.
type countingWriter func(n int64)

func (c countingWriter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}

// verifyCopies compares every copied image layer with its digest. Layers unpacked from
// a tar were compared while they were unpacked.
func (c *carrier) verifyCopies(ctx context.Context) (err error) {
	view, err := c.openView()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	v := verify.Verifier{View: view, Docker: c.docker, Driver: c.job.From}
	results, err := v.VerifyLayers(ctx, slices.Collect(maps.Values(c.records.Layers)))
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status != verify.OK {
			err = errors.Join(err, fmt.Errorf("layer %s of %s differs from Docker's record: %s", r.ID, imageNames(c.records, r.Chain), r.Reason))
		}
	}
	return err
}

// openView opens a view of the copied layers.
func (c *carrier) openView() (*overlayzfs.StoreView, error) {
	if c.job.Target == "" {
		return overlayzfs.OpenDatasetReadOnly(c.job.Dataset)
	}
	return overlayzfs.OpenHomeReadOnly(filepath.Join(c.root.Name(), c.job.Target))
}
