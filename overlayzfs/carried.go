package overlayzfs

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// FormatVersion is the version of a store's layout that this program knows.
const FormatVersion = formatVersion

// carriedName is the directory below .overlayzfs for what travels with the store.
const carriedName = "carried"

// OpenCarried is a directory in a store that is the operator's: a copy of an engine's
// records, for a host that receives the store's dataset. The driver does not look
// at it, and whoever has the store open goes on.
type CarriedDir struct {
	*os.Root
	mount *os.File
}

// OpenCarried opens the directory in the store on a dataset, to be written, and
// makes it if it is not there.
func OpenCarried(dataset string) (*CarriedDir, error) {
	v, err := OpenDatasetReadOnly(dataset) // a store that is understood
	if err != nil {
		return nil, err
	}
	if err := v.Close(); err != nil {
		return nil, err
	}
	root, err := zfs.OpenDataset(dataset)
	if err != nil {
		return nil, err
	}
	dir := string(homeOf(root))
	if err := makeCarried(dir); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	c, err := carriedOf(dir)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &CarriedDir{c, root}, nil
}

// OpenCarried opens the directory to be read; it is fault.NotFound where there is none.
// It is good as long as the view is open.
func (v *StoreView) OpenCarried() (*CarriedDir, error) {
	c, err := carriedOf(string(v.home))
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.New(fault.NotFound, "the store carries no records: it was not received")
	}
	if err != nil {
		return nil, err
	}
	return &CarriedDir{c, nil}, nil
}

func makeCarried(dir string) error {
	store, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = store.Mkdir(path.Join(ownDir, carriedName), 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil // what it is, is looked at when it is opened
	}
	return errors.Join(err, store.Close())
}

// carriedOf opens the directory in the store in dir. It is no link, and is not
// reached by one.
func carriedOf(dir string) (carried *os.Root, err error) {
	store, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, name := range []string{ownDir, path.Join(ownDir, carriedName)} {
		fi, err := store.Lstat(name)
		if err == nil && !fi.IsDir() {
			err = misshapen(name, "is no directory")
		}
		if err != nil {
			return nil, err
		}
	}
	return store.OpenRoot(path.Join(ownDir, carriedName))
}

// Close gives it up.
func (c *CarriedDir) Close() error {
	err := c.Root.Close()
	if c.mount != nil {
		err = errors.Join(err, c.mount.Close())
	}
	return err
}
