package overlayzfs

import (
	"context"
	"errors"
	"os"
)

// Fill gives the new and empty layer id the content that write makes in a
// directory, overlayfs's whiteouts and opaque directories included. It is for
// layers that come from another store as they are; what comes as a tar is
// ApplyDiff's.
//
// Like ApplyDiff, a layer without a limit gets all of the content in one step,
// or none. A layer that has a limit is written where it lies: when Fill fails,
// or never answers, it is to be removed.
func (d *Driver) Fill(ctx context.Context, id string, write func(dir *os.File) error) error {
	if err := checkID("layer", id); err != nil {
		return d.in("fill", id, err)
	}
	return d.on("fill", id, func(l layer) error {
		if err := l.require("layer"); err != nil {
			return err
		}
		if err := requireUnused(l); err != nil {
			return err
		}
		p, err := l.place()
		if err != nil {
			return err
		}
		limit, err := d.limits.Find(p.Key)
		if err != nil {
			return err
		}
		if limit != nil {
			return d.fillInPlace(ctx, l, write)
		}
		return d.fillAtOnce(ctx, l, write)
	})
}

// fillAtOnce fills a directory and renames it into place.
func (d *Driver) fillAtOnce(ctx context.Context, l layer, write func(*os.File) error) error {
	if err := requireNoContent(l); err != nil {
		return err
	}
	stage := d.home.applying(l.id)
	if err := d.makeRootDir(stage, 0o755); err != nil {
		return interrupted(err, cutFilling)
	}
	err := written(stage, write)
	if err == nil {
		err = replaceEmpty(stage, l.diff())
	}
	if err != nil {
		spoil(stage)
		return err
	}
	return d.keep(ctx, l, little+1)
}

// fillInPlace fills a limited layer, whose content can lie on a dataset of its
// own.
func (d *Driver) fillInPlace(ctx context.Context, l layer, write func(*os.File) error) (err error) {
	if err := d.attach(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.detach(l)) }()
	if err := requireNoContent(l); err != nil {
		return err
	}
	if err := written(l.diff(), write); err != nil {
		return err
	}
	return d.recorded(ctx)
}

func written(path string, write func(*os.File) error) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(write(dir), dir.Close())
}
