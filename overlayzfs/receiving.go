package overlayzfs

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// receivingProperty is set on a dataset from before a stream is received until the
// store is this host's. Until then no driver opens it: it may be another host's,
// with layers that nothing here has a record of.
const receivingProperty = "overlayzfs:receiving"

// Receiving is what is being received on a dataset.
type Receiving struct {
	From string `json:"from,omitempty"` // the snapshot it goes on from; empty in a stream with everything
	To   string `json:"to"`             // the snapshot that it makes
	// Refused: it came, and is not taken. What is left of it goes.
	Refused bool `json:"refused,omitempty"`
}

// Properties are what a dataset is marked with.
func (r Receiving) Properties() (zfs.Properties, error) {
	raw, err := json.Marshal(r)
	return zfs.Properties{receivingProperty: zfs.String(string(raw))}, err
}

// Mark keeps drivers from opening the store on a dataset.
func (r Receiving) Mark(z *zfs.Handle, dataset string) error {
	props, err := r.Properties()
	if err != nil {
		return err
	}
	return z.SetProperty(dataset, props)
}

// ClearReceiving lets them again.
func ClearReceiving(z *zfs.Handle, dataset string) error {
	return z.Inherit(dataset, receivingProperty)
}

// ReadReceiving is what is being received on a dataset; nil where nothing is.
func ReadReceiving(z *zfs.Handle, dataset string) (*Receiving, error) {
	d, err := z.DatasetStats(dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return receivingOf(d)
}

func receivingOf(d zfs.Dataset) (*Receiving, error) {
	if !d.IsLocal(receivingProperty) { // one that is inherited is another dataset's
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
		return nil, fault.New(fault.Invalid, "the property %s of %s is damaged: %w", receivingProperty, d.Name, err)
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
		err = fault.New(fault.Invalid, "the stream %s was received on %s and not finished; stop dockerd and finish it with `overlayzfs receive --finish --yes --dataset %s` and the flags it was begun with", r.To, d.dataset, d.dataset)
	}
	return err
}

// claimed is a store that nobody opens.
type claimed struct{ root, lock *os.File }

// Close lets others open it.
func (c claimed) Close() error { return errors.Join(c.lock.Close(), c.root.Close()) }

// ClaimDataset keeps everybody from opening the store on a dataset, whatever lies
// on it, until it is closed. It is fault.Busy when somebody has it open.
func ClaimDataset(dataset string) (io.Closer, error) {
	if err := answers(dataset); err != nil {
		return nil, err
	}
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return nil, err
	}
	lock, err := claim(homeOf(root))
	if errors.Is(err, fault.Busy) {
		err = fault.New(fault.Busy, "the store on dataset %s is open: a dockerd runs with it", dataset)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return claimed{root, lock}, nil
}
