package zfs

import (
	"errors"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// CreateFilesystem makes a file system below an existing one and sets
// properties on it. It does not mount it. An existing name is ErrExist, a
// missing parent ErrNotExist. When a property is refused nothing is made, and
// the error's Each has its name. (ZFS_IOC_CREATE, OpenZFS 2.1 to 2.4.)
func (h *Handle) CreateFilesystem(name string, props Properties) error {
	const op = "create"
	if err := CheckDatasetName(name); err != nil {
		return err
	}
	list, err := props.pack(op, name)
	if err != nil {
		return err
	}
	return h.act(op, iocCreate, name, createArgs(list))
}

// createArgs is the argument of ZFS_IOC_CREATE for a file system.
func createArgs(props nvlist.List) nvlist.List {
	args := nvlist.List{{Name: "type", Value: int32(objsetFilesystem)}}
	if len(props) > 0 {
		args = append(args, nvlist.Pair{Name: "props", Value: props})
	}
	return args
}

// Clone makes a file system of a snapshot of the same pool, with properties of
// its own. It does not mount it. An existing name is ErrExist, a missing snapshot
// or parent ErrNotExist. (ZFS_IOC_CLONE, OpenZFS 2.1 to 2.4.)
func (h *Handle) Clone(snap, name string, props Properties) error {
	const op = "clone"
	if err := errors.Join(CheckSnapshotName(snap), CheckDatasetName(name)); err != nil {
		return err
	}
	list, err := props.pack(op, name)
	if err != nil {
		return err
	}
	args := nvlist.List{{Name: "origin", Value: snap}}
	if len(list) > 0 {
		args = append(args, nvlist.Pair{Name: "props", Value: list})
	}
	return h.act(op, iocClone, name, args)
}
