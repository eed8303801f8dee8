package zfs

import (
	"errors"
)

// Rename gives a file system or volume another name in its pool. Its snapshots and children
// move with it, and a mount stays. It returns ErrExist for an existing name and ErrNotExist
// for a missing dataset or parent. (ZFS_IOC_RENAME, OpenZFS 2.1 to 2.4.)
func (h *Handle) Rename(from, to string) error {
	if err := errors.Join(CheckDatasetName(from), CheckDatasetName(to)); err != nil {
		return err
	}
	c := newCommand()
	c.setName(from)
	c.setValue(to)
	c.setUint64(offObjsetType, objsetFilesystem)
	_, errno := h.exchange(iocRename, c, nil, nil)
	return h.fail("rename", from, errno)
}
