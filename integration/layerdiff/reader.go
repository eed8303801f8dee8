package layerdiff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// Reader is the plugin's reader and comparison of trees on directories of any file system,
// without the plugin, its store and ZFS. It serves stacks by the hundred thousand.
type Reader struct {
	dir     string
	parents map[string]string
}

// NewReader returns a Reader that keeps layers in dir.
func NewReader(dir string) *Reader { return &Reader{dir, map[string]string{}} }

func (r *Reader) path(id, name string) string { return filepath.Join(r.dir, id, name) }

// stack returns the directories of a layer and of those below, the nearest first.
func (r *Reader) stack(id string) (dirs []string) {
	for ; id != ""; id = r.parents[id] {
		dirs = append(dirs, r.path(id, "diff"))
	}
	return dirs
}

// open opens the merged tree of a layer.
func (r *Reader) open(id string) (*os.File, error) {
	lowers := r.stack(id)
	if len(lowers) == 1 {
		return os.Open(r.path(id, "diff"))
	}
	m, err := mount.Overlay{Lowers: lowers}.Mount()
	if err != nil {
		return nil, err
	}
	root, err := m.OpenDetached()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", root.Fd())) // a root that lists its entries
}

// Apply implements Driver.
func (r *Reader) Apply(ctx context.Context, id, parent string, tar []byte) (err error) {
	if err := os.MkdirAll(r.path(id, "diff"), 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("unpack %s: %w", id, err), r.Remove(ctx, id))
		}
	}()
	r.parents[id] = parent
	dir, err := os.Open(r.path(id, "diff"))
	if err != nil {
		return err
	}
	o := layertar.Options{Base: parent == ""}
	var below *os.File
	if parent != "" {
		o.Below = func() (_ *os.File, err error) {
			below, err = r.open(parent)
			return below, err
		}
	}
	_, err = layertar.Extract(ctx, dir, bytes.NewReader(tar), o)
	if below != nil {
		err = errors.Join(err, below.Close())
	}
	return errors.Join(err, dir.Close())
}

// Show implements Driver.
func (r *Reader) Show(_ context.Context, id string, see func(string) error) (err error) {
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(r.path(id, name), 0o755); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.path(id, name))) }()
	}
	o := mount.Overlay{Target: r.path(id, "merged"), Lowers: r.stack(id), Upper: r.path(id, "upper"), Work: r.path(id, "work")}
	m, err := o.Mount()
	if err != nil {
		return err
	}
	if err := m.Do(); err != nil {
		return err
	}
	return errors.Join(see(r.path(id, "merged")), mount.Unmount(r.path(id, "merged")))
}

// Remove implements Driver.
func (r *Reader) Remove(_ context.Context, id string) error {
	delete(r.parents, id)
	return os.RemoveAll(filepath.Join(r.dir, id))
}

// Diff implements Differ.
func (r *Reader) Diff(ctx context.Context, id, parent string) (tar []byte, err error) {
	var raw bytes.Buffer
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
	}()
	open := func(f *os.File, err error) (*os.File, error) {
		if err == nil {
			opened = append(opened, f)
		}
		return f, err
	}
	if r.parents[id] == parent {
		dir, err := open(os.Open(r.path(id, "diff")))
		if err != nil {
			return nil, err
		}
		err = layertar.Pack(ctx, dir, &raw, layertar.Options{})
		return raw.Bytes(), err
	}
	merged, err := open(r.open(id))
	if err != nil {
		return nil, err
	}
	found, err := r.compare(ctx, merged, id, parent, open)
	if err != nil {
		return nil, err
	}
	entries := make([]layertar.Entry, len(found.Changes))
	for i, c := range found.Changes {
		entries[i] = layertar.Entry{Path: c.Path[1:], Deleted: c.Kind == treediff.Delete}
	}
	err = layertar.PackEntries(ctx, merged, entries, &raw, layertar.Options{})
	return raw.Bytes(), err
}

// compare compares a layer with one that is below it, but not directly.
func (r *Reader) compare(ctx context.Context, merged *os.File, id, parent string, open func(*os.File, error) (*os.File, error)) (treediff.Result, error) {
	if parent == "" {
		return treediff.Trees(ctx, merged, nil)
	}
	old, err := open(r.open(parent))
	if err != nil {
		return treediff.Result{}, err
	}
	var layers []*os.File
	for ; id != parent; id = r.parents[id] {
		layer, err := open(os.Open(r.path(id, "diff")))
		if err != nil {
			return treediff.Result{}, err
		}
		layers = append(layers, layer)
	}
	return treediff.Merged(ctx, merged, old, layers)
}
