package overlayzfs

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// view is a layer seen whole, with a reference held on it.
type view struct {
	driver *Driver
	id     string
	root   *os.File
}

// openView mounts the layer and opens its root.
func (d *Driver) openView(ctx context.Context, id string) (*view, error) {
	dir, err := d.Get(ctx, id, "")
	if err != nil {
		return nil, err
	}
	root, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, d.putAlways(id))
	}
	return &view{d, id, root}, nil
}

// close releases the view. Its reference goes back even when the call that
// took it was cancelled.
func (v *view) close() error {
	return errors.Join(v.root.Close(), v.driver.putAlways(v.id))
}

func (d *Driver) putAlways(id string) error { return d.Put(context.Background(), id) }

// strangers are two layers of which neither is known to stand directly on the
// other: both are shown whole and compared.
type strangers struct {
	new *view
	old *view // nil: compared with nothing
}

func (d *Driver) openStrangers(ctx context.Context, id, parent string) (pair, error) {
	s := &strangers{}
	var err error
	if s.new, err = d.openView(ctx, id); err != nil {
		return nil, err
	}
	if parent == "" {
		return s, nil
	}
	if s.old, err = d.openView(ctx, parent); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *strangers) close() error {
	err := s.new.close()
	if s.old != nil {
		err = errors.Join(err, s.old.close())
	}
	return err
}

func (s *strangers) compare(ctx context.Context) (treediff.Result, error) {
	if s.old == nil {
		return treediff.Trees(ctx, s.new.root, nil)
	}
	return treediff.Trees(ctx, s.new.root, s.old.root)
}

func (s *strangers) changes(ctx context.Context) ([]Change, error) {
	found, err := s.compare(ctx)
	return found.Changes, err
}

func (s *strangers) size(ctx context.Context) (int64, error) {
	found, err := s.compare(ctx)
	return found.Size, err
}

func (s *strangers) pack(ctx context.Context, w io.Writer, o layertar.Options) error {
	found, err := s.compare(ctx)
	if err != nil {
		return err
	}
	entries := make([]layertar.Entry, len(found.Changes))
	for i, c := range found.Changes {
		entries[i] = layertar.Entry{Path: c.Path[1:], Deleted: c.Kind == treediff.Delete}
	}
	return layertar.PackEntries(ctx, s.new.root, entries, w, o)
}
