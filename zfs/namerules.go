package zfs

// NameRules are the properties of a file system that decide which names it keeps apart. They
// are fixed when it is created.
type NameRules struct {
	Normalized    bool // normalization is not none
	UTF8Only      bool
	CaseSensitive bool // casesensitivity=sensitive
}

// NameRules returns the rules of a file system. Stats do not have them.
// (ZFS_IOC_OBJSET_ZPLPROPS, OpenZFS 2.1 to 2.4.)
func (h *Handle) NameRules(dataset string) (NameRules, error) {
	const op = "get the rules for names of"
	if err := CheckDatasetName(dataset); err != nil {
		return NameRules{}, err
	}
	c := newCommand()
	c.setName(dataset)
	list, errno := h.query(iocObjsetZPLProps, c)
	if errno != 0 {
		return NameRules{}, h.fail(op, dataset, errno)
	}
	form, _ := list.Uint64("normalization")
	utf8only, _ := list.Uint64("utf8only")
	sense, _ := list.Uint64("casesensitivity")
	return NameRules{Normalized: form != 0, UTF8Only: utf8only != 0, CaseSensitive: sense == 0}, nil
}
