package zfs

import (
	"errors"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// CreateFilesystem creates a file system below an existing one, with properties. It does
// not mount it. It returns ErrExist for an existing name and ErrNotExist for a missing
// parent. When a property is refused nothing is created, and the error's Each has its name.
// (ZFS_IOC_CREATE, OpenZFS 2.1 to 2.4.)
func (h *Handle) CreateFilesystem(name string, props Properties) error {
	const op = "create"
	if err := CheckDatasetName(name); err != nil {
		return err
	}
	list, err := props.pack(op, name)
	if err != nil {
		return err
	}
	return h.change(op, iocCreate, name, createArgs(list))
}

// createArgs is the argument of ZFS_IOC_CREATE for a file system.
func createArgs(props nvlist.List) nvlist.List {
	args := nvlist.List{{Name: "type", Value: int32(objsetFilesystem)}}
	if len(props) > 0 {
		args = append(args, nvlist.Pair{Name: "props", Value: props})
	}
	return args
}

// Clone creates a file system from a snapshot of the same pool, with properties. It does not
// mount it. It returns ErrExist for an existing name and ErrNotExist for a missing snapshot
// or parent. (ZFS_IOC_CLONE, OpenZFS 2.1 to 2.4.)
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
	return h.change(op, iocClone, name, args)
}
