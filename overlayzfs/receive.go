package overlayzfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// receivingProperty is set on a dataset from before a stream is received until the store is
// this host's. Until then no driver opens it: the store may be another host's, with layers
// that no engine here has a record of.
const receivingProperty = "overlayzfs:receiving"

// Receiving describes a stream that is being received on a dataset.
type Receiving struct {
	From string `json:"from,omitempty"` // the snapshot that an incremental stream begins at; else empty
	To   string `json:"to"`             // the snapshot that the stream makes
	// Refused says that the stream was received and refused. Its snapshot is removed.
	Refused bool `json:"refused,omitempty"`
}

// Properties returns the property of the dataset that receives the stream.
func (r Receiving) Properties() (zfs.Properties, error) {
	raw, err := json.Marshal(r)
	return zfs.Properties{receivingProperty: zfs.String(string(raw))}, err
}

// SetProperty keeps drivers from opening the store on a dataset.
func (r Receiving) SetProperty(z *zfs.Handle, dataset string) error {
	props, err := r.Properties()
	if err != nil {
		return err
	}
	return z.SetProperty(dataset, props)
}

// ClearReceiving lets drivers open the store again.
func ClearReceiving(z *zfs.Handle, dataset string) error {
	return z.Inherit(dataset, receivingProperty)
}

// ReadReceiving returns the stream that is being received on a dataset, or nil.
func ReadReceiving(z *zfs.Handle, dataset string) (*Receiving, error) {
	d, err := z.DatasetStats(dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseReceiving(d)
}

func parseReceiving(d zfs.Dataset) (*Receiving, error) {
	if !d.IsLocal(receivingProperty) { // an inherited one belongs to another dataset
		return nil, nil
	}
	p, _ := d.Property(receivingProperty)
	r := &Receiving{}
	err := json.Unmarshal([]byte(p.String()), r)
	for _, name := range []string{r.To, r.From} {
		if err == nil && (name != "" || name == r.To) {
			err = zfs.CheckSnapshotName(d.Name + "@" + name)
		}
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "the property %s of dataset %s is damaged: %w", receivingProperty, d.Name, err)
	}
	return r, nil
}

// requireReceived keeps the store closed while a stream is received on it.
func (d *Driver) requireReceived(o Options) error {
	if d.zfs == nil || o.Receiving {
		return nil
	}
	r, err := ReadReceiving(d.zfs, d.dataset)
	if err == nil && r != nil {
		err = fault.New(fault.Invalid, "the receive of stream %s on dataset %s is not finished; stop dockerd and run `overlayzfs receive --finish --yes --dataset %s` with the flags of the first run", r.To, d.dataset, d.dataset)
	}
	return err
}

// AcceptReceived makes a received store this host's. It forgets the other host's engine, so
// that the first engine here is in no dispute with it. It is the last step of a receive.
func (d *Driver) AcceptReceived(ctx context.Context) error {
	if err := unlinkIfThere(d.home.privatePath(engineFile)); err != nil {
		return err
	}
	if err := d.WaitReaper(ctx); err != nil || d.zfs == nil {
		return err
	}
	if err := d.waitTxg(ctx); err != nil {
		return err
	}
	return ClearReceiving(d.zfs, d.dataset)
}

// claimedStore is a store that no process can open.
type claimedStore struct{ root, lock *os.File }

// Close lets others open the store.
func (c claimedStore) Close() error { return errors.Join(c.lock.Close(), c.root.Close()) }

// ClaimDataset keeps every process from opening the store on a dataset, until the claim is
// closed. The dataset may hold anything. The error is fault.Busy while the store is open.
func ClaimDataset(dataset string) (io.Closer, error) {
	if err := checkPool(dataset); err != nil {
		return nil, err
	}
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return nil, err
	}
	lock, err := lockHome(context.Background(), homeOfFile(root))
	if errors.Is(err, fault.Busy) {
		err = fault.New(fault.Busy, "the store on dataset %s is open: dockerd is running with it", dataset)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return claimedStore{root, lock}, nil
}

// carriedDirName is the private directory for records that travel with the store.
const carriedDirName = "carried"

// CarriedDir is the operator's directory in a store. It holds a copy of an engine's records
// for the host that receives the dataset. The driver never reads it, so the store may be
// open meanwhile.
type CarriedDir struct {
	*os.Root
	mount *os.File
}

// OpenCarried opens the directory for writing, in the store on a dataset, and makes it if
// it is missing.
func OpenCarried(dataset string) (*CarriedDir, error) {
	v, err := OpenDatasetReadOnly(dataset) // checks the format
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
	dir := string(homeOfFile(root))
	if err := makeCarriedDir(dir); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	c, err := openCarriedDir(dir)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &CarriedDir{c, root}, nil
}

// OpenCarried opens the directory for reading. It returns fault.NotFound when there is
// none. The directory is usable as long as the view is open.
func (v *StoreView) OpenCarried() (*CarriedDir, error) {
	c, err := openCarriedDir(string(v.home))
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.New(fault.NotFound, "the store carries no records: it was not received from another host")
	}
	if err != nil {
		return nil, err
	}
	return &CarriedDir{c, nil}, nil
}

func makeCarriedDir(dir string) error {
	store, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = store.Mkdir(path.Join(privateDir, carriedDirName), 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil // openCarriedDir checks its type
	}
	return errors.Join(err, store.Close())
}

// openCarriedDir opens the directory of the store in dir. It refuses symbolic links.
func openCarriedDir(dir string) (carried *os.Root, err error) {
	store, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, name := range []string{privateDir, path.Join(privateDir, carriedDirName)} {
		fi, err := store.Lstat(name)
		if err == nil && !fi.IsDir() {
			err = malformedError(name, "is not a directory")
		}
		if err != nil {
			return nil, err
		}
	}
	return store.OpenRoot(path.Join(privateDir, carriedDirName))
}

// Close closes the directory.
func (c *CarriedDir) Close() error {
	err := c.Root.Close()
	if c.mount != nil {
		err = errors.Join(err, c.mount.Close())
	}
	return err
}
