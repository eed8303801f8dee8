package overlayzfs

import (
	"context"
	"io"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/layertar"
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
	defer d.begin(id)()
	size, err := d.apply(ctx, id, parent, diff)
	return size, d.in("apply diff to", id, err)
}

func (d *Driver) apply(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	l := d.home.layer(id)
	if err := d.requireFresh(l, parent); err != nil {
		return 0, err
	}
	stage := d.home.own(applyName, newShort())
	size, err := d.unpack(ctx, stage, diff)
	if err == nil {
		err = replaceEmpty(stage, l.diff())
	}
	if err != nil {
		discardContent(stage)
		return 0, err
	}
	if err := d.settle(id); err != nil {
		return 0, err
	}
	return size, d.barrier()
}

// requireFresh makes sure that the layer is there and has never been written:
// dockerd repeats a call whose plugin died, with a stream it has already read
// from, and that must not be taken for the layer's whole content.
func (d *Driver) requireFresh(l layer, parent string) error {
	if err := l.require("layer"); err != nil {
		return err
	}
	if parent != "" {
		if err := d.home.layer(parent).require("parent layer"); err != nil {
			return err
		}
	}
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil {
		return err
	}
	if mounted {
		return fault.New(fault.Busy, "it is mounted; a diff can only be applied to a layer nobody uses")
	}
	entries, err := os.ReadDir(l.diff())
	if err == nil && len(entries) > 0 {
		err = fault.New(fault.Exists, "it already has content (%d entries such as %q); a diff can only be applied to an empty layer", len(entries), entries[0].Name())
	}
	return err
}

func (d *Driver) unpack(ctx context.Context, stage string, diff io.Reader) (int64, error) {
	if err := d.makeRootDir(stage, 0o755); err != nil {
		return 0, err
	}
	dir, err := os.Open(stage)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return layertar.Extract(ctx, dir, diff, d.tarOptions())
}
