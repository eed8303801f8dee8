package zfs

import (
	"errors"
	"iter"

	"golang.org/x/sys/unix"
)

// Children returns the file systems and volumes directly below a dataset, with their
// properties, in no order. It yields ErrNotExist for a missing dataset. The sequence ends
// with the first error. Each step is a request, so the sequence may or may not contain a
// dataset that is created or destroyed meanwhile. (ZFS_IOC_DATASET_LIST_NEXT, OpenZFS 2.1
// to 2.4.)
func (h *Handle) Children(dataset string) iter.Seq2[Dataset, error] {
	return h.listEach("list children of", iocDatasetListNext, dataset, false)
}

// Snapshots returns the snapshots of one dataset, not of its children, with their
// properties, in no order; CreateTXG orders them. It yields ErrNotExist for a missing
// dataset. The sequence ends with the first error. Each snapshot costs one request.
// (ZFS_IOC_SNAPSHOT_LIST_NEXT, OpenZFS 2.1 to 2.4.)
func (h *Handle) Snapshots(dataset string) iter.Seq2[Dataset, error] {
	return h.listEach("list snapshots of", iocSnapshotListNext, dataset, false)
}

// SnapshotNames is Snapshots without properties, which is faster: only name, GUID, CreateTXG
// and Clones are set.
func (h *Handle) SnapshotNames(dataset string) iter.Seq2[Dataset, error] {
	return h.listEach("list snapshots of", iocSnapshotListNext, dataset, true)
}

// Collect returns all items of a sequence, or its error.
func Collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for item, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// listEach walks a list by the cursor that the module keeps in the block's cookie and obj.
// The module replaces the dataset's name in the block by the next entry's.
func (h *Handle) listEach(op string, req request, dataset string, simple bool) iter.Seq2[Dataset, error] {
	return func(yield func(Dataset, error) bool) {
		c := newCommand()
		if err := h.checkParent(op, dataset); err != nil {
			yield(Dataset{}, err)
			return
		}
		for {
			d, err := h.fetchNext(c, req, dataset, simple)
			if errors.Is(err, unix.ESRCH) {
				return
			}
			if err != nil {
				yield(Dataset{}, h.fail(op, dataset, errnoOf(err)))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// checkParent tells a missing dataset from one without entries: the module returns ESRCH for
// both.
func (h *Handle) checkParent(op, dataset string) error {
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	there, err := h.Exists(dataset)
	if err == nil && !there {
		err = failure(op, dataset, unix.ENOENT)
	}
	return err
}

// fetchNext returns the entry after the cursor in c.
func (h *Handle) fetchNext(c command, req request, dataset string, simple bool) (Dataset, error) {
	c.setName(dataset)
	clear(c.stats())
	if simple {
		c.setSimple()
	}
	list, errno := h.query(req, c)
	if errno != 0 {
		return Dataset{}, errno
	}
	return newDataset(c.name(), c.stats(), unpackProperties(list)), nil
}

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}
