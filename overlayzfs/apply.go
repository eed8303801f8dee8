package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// ApplyDiff unpacks a layer tar into the empty layer id and returns the apparent size,
// equal to DiffSize afterwards. The layer gets all of the tar in one step, or nothing.
//
// A directory that the tar only implies has the attributes of the parent's directory. A
// stream of no bytes is an empty layer, if this process has made the layer: an engine repeats
// a call that an earlier process did not answer, with the stream that it has sent already.
func (d *Driver) ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	if err := checkIDs(id, parent); err != nil {
		return 0, d.addContext("apply diff to", id, err)
	}
	return runLockedFor(ctx, d, "apply diff to", id, func(l layer) (int64, error) { return d.apply(ctx, l, parent, diff) })
}

func (d *Driver) apply(ctx context.Context, l layer, parent string, diff io.Reader) (int64, error) {
	if err := d.requireEmptyLayer(l, parent); err != nil {
		return 0, err
	}
	stage := d.home.applyPath(l.id)
	if err := d.makeRootDir(stage, 0o755); err != nil {
		return 0, explainInterrupted(err, cutDiff)
	}
	tar := &tarContent{Reader: diff}
	size, err := d.unpackTar(ctx, l, tar)
	untried := d.untriedLayers.has(l.id)
	d.untriedLayers.remove(l.id)
	if err == nil && tar.n == 0 && !untried {
		err = fault.New(fault.Interrupted, "%s", spentDiff)
	}
	if err == nil {
		err = replaceEmpty(stage, l.diff())
	}
	if err != nil {
		emptyStage(stage)
		return 0, err
	}
	barrier := func(ctx context.Context, log intentLog) error { return d.barrierForContent(ctx, log, tar) }
	if err := d.makeContentReady(ctx, l, barrier); err != nil {
		return 0, err
	}
	d.durableLayers.add(l.id)
	d.snapshots.Notify(snapshot.Committed)
	return size, nil
}

func (d *Driver) unpackTar(ctx context.Context, l layer, diff *tarContent) (size int64, err error) {
	parent, err := l.readParent()
	if err != nil {
		return 0, err
	}
	dir, err := os.Open(d.home.applyPath(l.id))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var below *mountedLayer
	defer func() {
		if below != nil {
			err = errors.Join(err, below.close())
		}
	}()
	o := layertar.Options{IDs: d.ids, Base: parent == "", Warn: func(entry, what string) {
		logrus.WithFields(logrus.Fields{"layer": l.id, "entry": entry}).Warn("in the layer's tar, the entry " + what)
	}, Unlogged: func(string) { diff.unlogged = true }}
	if parent != "" {
		// The parent is ready and has a child, so nothing waits for this layer there.
		o.Below = func() (*os.File, error) {
			if below, err = d.mountForRead(ctx, parent); err != nil {
				return nil, err
			}
			return below.root, nil
		}
	}
	return layertar.Extract(ctx, dir, diff, o)
}

// Fill has write make the content of an empty layer in a directory, with overlayfs's
// whiteouts and opaque directories. It serves layers that another store holds as
// directories. ApplyDiff serves tars.
//
// A layer without a limit gets all of the content in one step, or nothing. A layer with a
// limit is written in place. When Fill fails or never answers, such a layer has to be
// removed.
func (d *Driver) Fill(ctx context.Context, id string, write func(dir *os.File) error) error {
	return d.runLocked(ctx, "fill", id, func(l layer) error {
		if err := l.requireExists("layer"); err != nil {
			return err
		}
		if err := requireUnused(l); err != nil {
			return err
		}
		quotaLayer, err := l.quotaLayer()
		if err != nil {
			return err
		}
		limit, err := d.limits.Find(quotaLayer.Key)
		if err != nil {
			return err
		}
		if limit != nil {
			return d.fillInPlace(ctx, l, write)
		}
		return d.fillStaged(ctx, l, write)
	})
}

// fillStaged fills a directory in staging and renames it into place.
func (d *Driver) fillStaged(ctx context.Context, l layer, write func(*os.File) error) error {
	if err := requireNoContent(l); err != nil {
		return err
	}
	stage := d.home.applyPath(l.id)
	if err := d.makeRootDir(stage, 0o755); err != nil {
		return explainInterrupted(err, cutFilling)
	}
	err := writeContent(stage, write)
	if err == nil {
		err = replaceEmpty(stage, l.diff())
	}
	if err != nil {
		emptyStage(stage)
		return err
	}
	return d.makeContentReady(ctx, l, func(ctx context.Context, _ intentLog) error { return d.waitTxg(ctx) })
}

// fillInPlace fills a limited layer, whose content can lie on a dataset of its own.
func (d *Driver) fillInPlace(ctx context.Context, l layer, write func(*os.File) error) (err error) {
	if err := d.attach(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.detach(l)) }()
	if err := requireNoContent(l); err != nil {
		return err
	}
	if err := writeContent(l.diff(), write); err != nil {
		return err
	}
	return d.waitTxg(ctx)
}

func writeContent(path string, write func(*os.File) error) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(write(dir), dir.Close())
}

// makeContentReady makes the content of a layer durable by the barrier, and then the layer
// ready.
//
// While the intent log is in use, these are two waits. Another call's fsync commits all
// names, the removal of the building mark among them, and not the content of files. So the
// content is waited for first, and the second wait is for that one name.
func (d *Driver) makeContentReady(ctx context.Context, l layer, barrier func(context.Context, intentLog) error) error {
	log := d.readIntentLog()
	if log.used {
		if err := barrier(ctx, log); err != nil {
			return err
		}
	}
	if err := d.clearMarks(l.id); err != nil {
		return err
	}
	if log.used {
		return d.commitNames(ctx, log, syncSet{})
	}
	return d.waitTxg(ctx)
}

// Why a layer cannot be given content again, and what to do.
const (
	cutDiff    = "an earlier diff for it was cut short, and the rest of its stream is not the whole layer: remove the layer, and pull, load or build the image again"
	spentDiff  = "the stream has no bytes, and an earlier process of this driver may have read them: remove the layer, and pull, load or build the image again"
	cutFilling = "an earlier attempt to fill the layer was cut short: remove the layer, and make it again"
)

// explainInterrupted says why a layer is not given content a second time. The staging
// directory stays behind, empty, until the layer is removed. dockerd repeats a call whose
// connection broke, with a stream that it has already read from. The rest of a tar must
// not pass for a layer.
func explainInterrupted(err error, why string) error {
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Interrupted, "%s", why)
	}
	return err
}

// emptyStage empties the staging directory of content that failed.
func emptyStage(stage string) {
	dir, err := os.Open(stage)
	if err == nil {
		err = errors.Join(fsat.RemoveContents(context.Background(), int(dir.Fd())), dir.Close())
	}
	warnLeftover(stage, err)
}

// requireEmptyLayer refuses a layer that is missing, in use, not empty, or limited.
func (d *Driver) requireEmptyLayer(l layer, parent string) error {
	if err := l.requireExists("layer"); err != nil {
		return err
	}
	if err := d.requireUnlimited(l, "be given content"); err != nil {
		return err
	}
	if parent != "" {
		if err := d.home.layer(parent).requireExists("parent layer"); err != nil {
			return err
		}
	}
	if err := requireUnused(l); err != nil {
		return err
	}
	return requireNoContent(l)
}

// requireUnused refuses a layer that is mounted or has a child.
func requireUnused(l layer) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil {
		return err
	}
	if mounted {
		return fault.New(fault.Busy, "the layer is mounted; only an unused layer can be given content")
	}
	if _, err := os.Lstat(l.committed()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fault.NewWithRemedy(fault.Busy, "the layer has children; only a layer without children can be given content"))
	}
	return nil
}

func requireNoContent(l layer) error {
	entries, err := os.ReadDir(l.diff())
	if err == nil && len(entries) > 0 {
		err = fault.New(fault.Exists, "the layer already has content (%d entries such as %q); only an empty layer can be given content", len(entries), entries[0].Name())
	}
	return err
}

// tarContent is a layer's tar, and what decides about the barrier for its content.
type tarContent struct {
	io.Reader
	n        int64 // bytes that were read
	unlogged bool  // see layertar.Options.Unlogged
}

func (c *tarContent) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// replaceEmpty renames a directory over an empty one in one step. os.Rename refuses a
// directory as the target without asking the kernel.
func replaceEmpty(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}
