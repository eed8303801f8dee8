package zfs

import "github.com/overlayzfs/overlayzfs/zfs/nvlist"

// InheritKey makes an encrypted dataset use the key of its parent, without knowing either. It
// is for datasets that were received raw and had that at the sender: elsewhere the data would be
// lost. (ZFS_IOC_CHANGE_KEY, OpenZFS 2.1 to 2.4.)
func (h *Handle) InheritKey(dataset string) error {
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	return h.change("inherit the key of", iocChangeKey, dataset, nvlist.List{{Name: "crypt_cmd", Value: uint64(dcpForceInherit)}})
}
