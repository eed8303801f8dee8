package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dataroot"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// moves reports whether the content of the data-root moves to the parent.
func (w Request) moves(f Facts) bool {
	return w.MoveRoot && (f.Moving || f.RootOn != w.Parent && f.RootHasContent)
}

// inspectMove finds what an interrupted move has left, and whether a wanted one can begin.
func (f *Facts) inspectMove(w Request) error {
	d := f.Datasets[w.Parent]
	from, _ := d.Property(dataroot.MovingProperty)
	f.Moving = d.IsLocal(dataroot.MovingProperty) && from.String() == w.Root
	if _, err := os.Lstat(w.Root + dataroot.Suffix); err == nil {
		f.OldRoot = w.Root + dataroot.Suffix
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !w.moves(*f) {
		return nil
	}
	if err := dataroot.RequireStopped(w.Root); err != nil {
		return err
	}
	if f.RootOn == w.Parent || !f.RootHasContent { // the switch is to be finished
		if f.OldRoot != "" && f.RootOn != w.Parent {
			// The volumes come back with the data-root's content.
			there, err := hasContent(filepath.Join(f.OldRoot, filepath.Base(w.volumesDir())))
			f.VolumesHaveContent = f.VolumesHaveContent || there
			return err
		}
		return nil
	}
	if err := dataroot.CheckRoot(w.Root); err != nil || w.CheckStopped == nil {
		return err
	}
	return w.CheckStopped(w.Root)
}

// planMove plans to move the content of the data-root to the parent.
func (p *Plan) planMove(f Facts, w Request) error {
	d, there := f.Datasets[w.Parent]
	if _, has := f.Datasets[w.volumesDataset()]; has && !f.Moving {
		return fault.New(fault.Exists, "dataset %s exists, and the next boot would mount it over the volumes that move: rename or destroy it first", w.volumesDataset())
	}
	switch {
	case there && !f.Moving && d.Mountpoint() != "none":
		return fault.New(fault.Exists, "dataset %s exists with mountpoint=%s: name a dataset that does not exist, for the content of %s", w.Parent, d.Mountpoint(), w.Root)
	case there:
		p.setAdvised(f, d)
	default:
		p.createDataset(f, w.Parent, roleDataRoot, advisedProperties(property{"mountpoint", "none"}))
	}
	old := w.Root + dataroot.Suffix
	p.addStep(func(ctx context.Context, z *zfs.Handle) error {
		return dataroot.Move{ZFS: z, Root: w.Root, Dataset: w.Parent}.Do(ctx)
	}, "umount "+w.Root+" && zfs set mountpoint=none "+w.Parent+" && rmdir "+w.Root+" && mv "+old+" "+w.Root,
		"copy the content of %s to dataset %s, compare it, and mount the dataset there; the old content stays in %s", w.Root, w.Parent, old)
	p.addRecords(setuplog.Record{Kind: setuplog.Move, Name: w.Parent, Path: w.Root})
	p.moved = true
	return nil
}

// listOldRoot says what becomes of the old content.
func (p *Plan) listOldRoot(f Facts, w Request) {
	if p.moved || f.OldRoot != "" && f.RootOn == w.Parent && w.Parent != "" {
		p.addRemaining("The old content of the data-root is kept. When dockerd runs well on the new one: rm -r %s", w.Root+dataroot.Suffix)
	}
}
