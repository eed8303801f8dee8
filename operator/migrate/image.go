package migrate

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// findTreeReason returns why an image layer is carried as a tree, as far as its record
// tells, or "".
func (c *carrier) findTreeReason(it item) (string, error) {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // the error is the reason
	}
	reason := verify.FindLoss(record)
	return reason, record.Close()
}

// unpackImage makes an image layer's tar again from Docker's record and the old layer's
// files, unpacks it, and puts right what the image does not show as it did.
func (c *carrier) unpackImage(ctx context.Context, it item, dir, layer *os.File) error {
	return c.withParent(it, func(below *os.File) error {
		if err := c.unpackTar(ctx, it, dir, layer, below); err != nil {
			return err
		}
		repaired, err := treecopy.Repair(ctx, dir, layer, below, c.contentRule(), treecopy.Options{})
		if err != nil || repaired.Entries == 0 {
			return err
		}
		c.noteLost(it, repaired)
		_, err = c.compareRecord(ctx, it, makeLayer(dir, below))
		if errors.As(err, new(rebuild.Unproven)) {
			c.noteDifference(it, err)
			err = nil
		}
		return cmp.Or(err, ctx.Err())
	})
}

// contentRule returns how a change of content shows. A build can change a file and keep its
// size and time, and Docker's record of the layer lacks it then; so vfs's copies are read.
func (c *carrier) contentRule() treecopy.Content {
	if isCloningDriver(c.job.From) {
		return treecopy.ByInode
	}
	return treecopy.ByReading
}

// unpackTar unpacks the layer's tar. It returns no error only when the tar's digest is the
// recorded one.
func (c *carrier) unpackTar(ctx context.Context, it item, dir, layer, below *os.File) error {
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
	options := layertar.Options{Base: below == nil}
	if below != nil {
		options.Below = func() (*os.File, error) { return below, nil }
	}
	_, err := layertar.Extract(ctx, dir, r, options)
	r.CloseWithError(errors.Join(io.ErrClosedPipe, err))
	<-ended
	return err
}

// copyTree makes an image layer of the difference between the old layer's tree and the one
// below, and compares it with the record. A layer that differs from the record did so
// before: it stays what Docker showed, and the operator is told.
func (c *carrier) copyTree(ctx context.Context, it item, dir, layer *os.File, reason string) error {
	return c.withParent(it, func(below *os.File) error { return c.copyDifference(ctx, it, dir, layer, below, reason) })
}

func (c *carrier) copyDifference(ctx context.Context, it item, dir, tree, below *os.File, reason string) error {
	repaired, err := treecopy.Repair(ctx, dir, tree, below, c.contentRule(), treecopy.Options{Copied: c.progress})
	if err != nil {
		return err
	}
	c.addNote(it, "was carried as a tree, because its tar cannot be made again or unpacked: %s", reason)
	c.noteLost(it, repaired)
	_, err = c.compareRecord(ctx, it, makeLayer(dir, below))
	c.noteDifference(it, err)
	return ctx.Err()
}

// copyMerged is copyTree for a driver that stacks layers. A layer that overlayfs wrote with
// features that a store turns off says what it is only in an overlay with these features.
func (c *carrier) copyMerged(ctx context.Context, it item, dir, layer *os.File, reason string) error {
	lowers, err := c.openBelow(it)
	if err != nil {
		return err
	}
	defer func() {
		for _, lower := range lowers {
			_ = lower.Close()
		}
	}()
	tree, err := mergeLayers(append([]*os.File{layer}, lowers...))
	if err != nil {
		return err
	}
	defer tree.Close()
	below, err := mergeLayers(lowers)
	if err != nil {
		return err
	}
	defer below.Close()
	return c.copyDifference(ctx, it, dir, tree, below, reason)
}

// mergeLayers opens the overlay of directories, nearest first, without mounting it anywhere.
// It returns nil for no directory.
func mergeLayers(dirs []*os.File) (*os.File, error) {
	names := make([]string, len(dirs))
	for i, dir := range dirs {
		names[i] = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	}
	if len(dirs) < 2 {
		if len(dirs) == 0 {
			return nil, nil
		}
		return os.Open(names[0])
	}
	root, err := mount.Mount{Type: "overlay", Source: "overlay", Options: []mount.Option{
		{Key: "redirect_dir", Value: "follow"}, {Key: "metacopy", Value: "on"}, {Key: "lowerdir", Value: strings.Join(names, ":")},
	}}.OpenDetached()
	if err != nil {
		return nil, err
	}
	merged, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", root.Fd())) // the descriptor of fsmount(2) cannot be read
	return merged, cmp.Or(err, root.Close())
}

// noteDifference notes that a layer differed from its record before the migration.
func (c *carrier) noteDifference(it item, err error) {
	switch {
	case err == nil:
	case errors.As(err, new(rebuild.Unproven)):
		c.addNote(it, "is not proven by Docker's record: %v", err)
	default:
		c.addNote(it, "is not what Docker recorded, and was not before: %v; pull or build the image again", err)
	}
}

func (c *carrier) noteLost(it item, repaired treecopy.Repaired) {
	if n := len(repaired.Lost); n > 0 {
		c.addNote(it, "lost %d attributes that the store cannot hold, such as %s", n, repaired.Lost[0])
	}
}

// makeLayer returns a layer on a tree below, or nil.
func makeLayer(dir, below *os.File) treestack.Layer {
	layer := treestack.Layer{Dir: dir}
	if below != nil {
		layer.OpenBelow = func() ([]*os.File, error) {
			again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", below.Fd()))
			return []*os.File{again}, err
		}
	}
	return layer
}

// compareRecord compares a layer with Docker's record of it.
func (c *carrier) compareRecord(ctx context.Context, it item, layer treestack.Layer) (proof verify.Proof, err error) {
	record, err := c.docker.TarSplit(c.job.From, it.image.Chain)
	if err != nil {
		return "", rebuild.Unproven{Err: err}
	}
	defer func() {
		if closeErr := record.Close(); err == nil {
			err = closeErr
		}
	}()
	return verify.CompareLayer(ctx, record, layer, it.image.Diff)
}

// proveCopy compares the copy of an image layer with its record. A copy that differs as the
// original does is what Docker showed, and the operator is told.
func (c *carrier) proveCopy(ctx context.Context, it item, dir, layer *os.File) error {
	below := func() ([]*os.File, error) { return c.openBelow(it) }
	if it.parent == "" {
		below = nil
	}
	var err error
	if c.job.To == "zfs" { // the copy is a whole tree, in which only the tar's files are the layer's
		err = c.writeTar(io.Discard, it, dir)
	} else {
		_, err = c.compareRecord(ctx, it, treestack.Layer{Dir: dir, OpenBelow: below})
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	proof, before := c.compareRecord(ctx, it, treestack.Layer{Dir: layer, OpenBelow: below})
	switch {
	case before != nil:
		c.noteDifference(it, before)
		return ctx.Err()
	case proof == verify.ByChecksums && c.job.To == "zfs":
		return nil // its record cannot give the tar again
	}
	return fmt.Errorf("the copy differs from Docker's record: %w", err)
}

// openBelow opens the old layers below one, nearest first.
func (c *carrier) openBelow(it item) ([]*os.File, error) {
	var dirs []*os.File
	for it.parent != "" {
		it = c.items[it.parent]
		layer, err := c.source.openLayer(it.id)
		if err != nil {
			for _, dir := range dirs {
				err = errors.Join(err, dir.Close())
			}
			return nil, err
		}
		dirs = append(dirs, layer.File)
	}
	return dirs, nil
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
