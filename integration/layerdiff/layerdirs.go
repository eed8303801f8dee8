package layerdiff

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// LayerDirs is a store of layers as plain directories, to which package migrate copies. It has
// the same files as a store of the plugin.
type LayerDirs struct {
	*Reader
	mu sync.Mutex // of the parents
}

// NewLayerDirs returns a store in dir.
func NewLayerDirs(dir string) *LayerDirs { return &LayerDirs{Reader: NewReader(dir)} }

// Tools returns what a migration needs of the command. note gets what the operator has to know.
func (d *LayerDirs) Tools(note func(string)) migrate.Tools {
	return migrate.Tools{
		Open:     func(context.Context) (migrate.Store, func() error, error) { return d, func() error { return nil }, nil },
		Unused:   func() error { return nil },
		Token:    func() (string, error) { return "", nil },
		Note:     note,
		Progress: func(string, int64) (func(int64), func()) { return func(int64) {}, func() {} },
	}
}

// Create implements migrate.Store.
func (d *LayerDirs) Create(_ context.Context, id, parent string, _ overlayzfs.CreateOptions) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parents[id] = parent
	return os.MkdirAll(d.path(id, "diff"), 0o755)
}

// Fill implements migrate.Store.
func (d *LayerDirs) Fill(_ context.Context, id string, write func(*os.File) error) error {
	dir, err := os.Open(d.path(id, "diff"))
	if err != nil {
		return err
	}
	return errors.Join(write(dir), dir.Close())
}

// Remove implements migrate.Store.
func (d *LayerDirs) Remove(ctx context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Reader.Remove(ctx, id)
}

// Layers implements migrate.Store.
func (d *LayerDirs) Layers(context.Context) (ids []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(d.dir, "*"))
	for _, dir := range dirs {
		ids = append(ids, filepath.Base(dir))
	}
	return ids, err
}

// WaitReaper implements migrate.Store.
func (d *LayerDirs) WaitReaper(context.Context) error { return nil }
