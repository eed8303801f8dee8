package overlayzfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// ApplyDiff unpacks a layer tar into the empty layer id and returns its
// apparent size, which is what DiffSize says of it afterwards. The layer gets
// all of the tar in one step, or nothing.
//
// The parent does not matter to what is unpacked: a whiteout hides what any
// layer below has, and an empty layer has nothing else to be compared with.
func (d *Driver) ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	if err := checkPair(id, parent); err != nil {
		return 0, d.in("apply diff to", id, err)
	}
	var size int64
	err := d.on("apply diff to", id, func(l layer) (err error) {
		size, err = d.apply(ctx, l, parent, diff)
		return err
	})
	return size, err
}

func (d *Driver) apply(ctx context.Context, l layer, parent string, diff io.Reader) (int64, error) {
	if err := d.requireFresh(l, parent); err != nil {
		return 0, err
	}
	stage := d.home.applying(l.id)
	if err := d.makeRootDir(stage, 0o755); err != nil {
		return 0, interrupted(err, cutDiff)
	}
	tar := &counter{Reader: diff}
	size, err := d.unpack(ctx, l, tar)
	if err == nil {
		err = replaceEmpty(stage, l.diff())
	}
	if err != nil {
		spoil(stage)
		return 0, err
	}
	if err := d.keep(ctx, l, tar.n); err != nil {
		return 0, err
	}
	d.quiet.add(l.id)
	d.snapshots.Notify(snapshot.Committed)
	return size, nil
}

// keep makes a layer's content durable, and then a layer that is kept. While the
// intent log is in use the two are not one: another call's fsync commits all
// names, the mark's removal among them, and not the content of files. The second
// wait is for that one name.
func (d *Driver) keep(ctx context.Context, l layer, tar int64) error {
	log := d.intentLog()
	if log.used {
		if err := d.filled(ctx, tar); err != nil {
			return err
		}
	}
	if err := d.settle(l.id); err != nil {
		return err
	}
	if log.used {
		return d.noted(ctx)
	}
	return d.recorded(ctx)
}

// What is wrong with a layer that was being given content, and what to do.
const (
	cutDiff    = "an earlier diff for it was cut short, and what is left of the stream is not the whole layer: remove the layer, and pull, load or build the image again"
	cutFilling = "it was being given content before, and that was cut short: remove the layer, and make it again"
)

// interrupted explains why a layer is not given content a second time. The
// directory it was unpacked into stays behind, emptied, until the layer is
// removed: dockerd repeats a call whose connection broke, with a stream it has
// already read from, and the rest of a tar must not pass for a layer.
func interrupted(err error, why string) error {
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Interrupted, "%s", why)
	}
	return err
}

// spoil empties the directory of a diff that failed.
func spoil(stage string) {
	dir, err := os.Open(stage)
	if err == nil {
		err = errors.Join(fsat.RemoveContents(context.Background(), int(dir.Fd())), dir.Close())
	}
	warn(stage, err)
}

// requireFresh makes sure that the layer is there, unused and empty, and has no
// limit.
func (d *Driver) requireFresh(l layer, parent string) error {
	if err := l.require("layer"); err != nil {
		return err
	}
	if err := d.requireUnlimited(l, "be given content"); err != nil {
		return err
	}
	if parent != "" {
		if err := d.home.layer(parent).require("parent layer"); err != nil {
			return err
		}
	}
	if err := requireUnused(l); err != nil {
		return err
	}
	return requireNoContent(l)
}

// requireUnused makes sure that the layer is not mounted and no parent.
func requireUnused(l layer) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil {
		return err
	}
	if mounted {
		return fault.New(fault.Busy, "it is mounted; content can only be given to a layer nobody uses")
	}
	if _, err := os.Lstat(l.committed()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fault.NewWithRemedy(fault.Busy, "it has children; content can only be given to a layer nothing stands on"))
	}
	return nil
}

func requireNoContent(l layer) error {
	entries, err := os.ReadDir(l.diff())
	if err == nil && len(entries) > 0 {
		err = fault.New(fault.Exists, "it already has content (%d entries such as %q); more can only be given to an empty layer", len(entries), entries[0].Name())
	}
	return err
}

// counter counts what was read through it.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (d *Driver) unpack(ctx context.Context, l layer, diff io.Reader) (int64, error) {
	lowers, err := l.lowers()
	if err != nil {
		return 0, err
	}
	dir, err := os.Open(d.home.applying(l.id))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return layertar.Extract(ctx, dir, diff, layertar.Options{IDs: d.ids, Base: len(lowers) == 0})
}
