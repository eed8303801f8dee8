package overlayzfs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// FormatVersion is the version of a store's layout that this program knows.
const FormatVersion = formatVersion

// carriedName is the directory below .overlayzfs for what travels with the store.
const carriedName = "carried"

// Carried is a directory in a store that is the operator's: a copy of an engine's
// records, for a host that receives the store's dataset. The driver does not look
// at it, and whoever has the store open goes on.
type Carried struct {
	*os.Root
	mount *os.File
}

// OpenCarried opens the directory in the store on a dataset, to be written, and
// makes it if it is not there.
func OpenCarried(dataset string) (*Carried, error) {
	v, err := ViewDataset(dataset) // a store that is understood
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
	dir := homeOf(root).own(carriedName)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(err, root.Close())
	}
	return openCarried(dir, root)
}

// Carried opens the directory to be read; it is fault.NotFound where there is none.
// Its Dir is good as long as the view is open.
func (v *View) Carried() (*Carried, error) {
	c, err := openCarried(v.home.own(carriedName), nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.New(fault.NotFound, "the store carries no records: it was not received")
	}
	return c, err
}

func openCarried(dir string, mount *os.File) (*Carried, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		if mount != nil {
			err = errors.Join(err, mount.Close())
		}
		return nil, err
	}
	return &Carried{root, mount}, nil
}

// Dir is the directory's path in this process.
func (c *Carried) Dir() string { return c.Name() }

// Close gives it up.
func (c *Carried) Close() error {
	err := c.Root.Close()
	if c.mount != nil {
		err = errors.Join(err, c.mount.Close())
	}
	return err
}
