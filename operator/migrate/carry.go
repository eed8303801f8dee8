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
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/operator/verify"
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

// unpackImage makes an image layer's tar again, from Docker's record of it and the
// old layer's files, and unpacks it. Only when its digest is the recorded one
// does the stream end well, and only then is there a layer.
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

// writeTar makes an image layer's tar again, and compares its digest.
func (c *carrier) writeTar(w io.Writer, it item, layer *os.File) error {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return err
	}
	err = rebuild.WriteTar(io.MultiWriter(w, countingWriter(c.progress)), record, layer, it.image.Diff)
	return errors.Join(err, record.Close())
}

// countingWriter counts what is written to it.
type countingWriter func(n int64)

func (c countingWriter) Write(p []byte) (int, error) {
	c(int64(len(p)))
	return len(p), nil
}

// verifyCopies compares every image layer that was copied as it is with its digest.
// What was unpacked from its tar was compared on the way.
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
			err = errors.Join(err, fmt.Errorf("layer %s of %s is not as Docker recorded it: %s", r.ID, imageNames(c.records, r.Chain), r.Reason))
		}
	}
	return err
}

// openView looks at the layers that were carried.
func (c *carrier) openView() (*overlayzfs.StoreView, error) {
	if c.job.Target == "" {
		return overlayzfs.OpenDatasetReadOnly(c.job.Dataset)
	}
	return overlayzfs.ViewHome(filepath.Join(c.root.Name(), c.job.Target))
}
