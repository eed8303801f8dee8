package zfs

import (
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// SetProperty sets properties on a dataset, or user properties on a snapshot. It is not
// atomic: the error's Each has the refused properties, and the others are set. It returns
// ErrNoSpace for a refquota or quota below the current usage. (ZFS_IOC_SET_PROP, OpenZFS
// 2.1 to 2.4.)
func (h *Handle) SetProperty(name string, props Properties) error {
	const op = "set property"
	if err := checkName(name); err != nil {
		return err
	}
	list, err := props.pack(op, name)
	if err != nil || len(list) == 0 {
		return err
	}
	err = h.change(op, iocSetProp, name, list)
	if e := asError(err); e != nil && e.Kind == ErrNotExist {
		e.Each = nil // it is the dataset that is missing, not each property
	}
	return err
}

// SetReceived sets user properties as if they had come with a stream: they are the snapshot's
// or dataset's own, and no local ones.
func (h *Handle) SetReceived(name string, props Properties) error {
	const op = "set received property"
	if err := checkName(name); err != nil {
		return err
	}
	list, err := props.pack(op, name)
	if err != nil || len(list) == 0 {
		return err
	}
	src, err := nvlist.Encode(list)
	if err != nil {
		return invalid(op, name, "%v", err)
	}
	c := newCommand()
	c.setName(name)
	c.setUint64(offCookie, 1) // received
	_, errno := h.alter(iocSetProp, c, src)
	return h.fail(op, name, errno)
}

// SetUint sets a numeric property, such as refquota in bytes.
func (h *Handle) SetUint(name, property string, n uint64) error {
	return h.SetProperty(name, Properties{property: Uint(n)})
}

// SetString sets a property that is a string or, for some, a word: see
// String.
func (h *Handle) SetString(name, property, value string) error {
	return h.SetProperty(name, Properties{property: String(value)})
}

// Inherit removes a property's local value, so that an ancestor's value or the default
// applies. It does nothing for a property without a local value. It returns ErrInvalid for
// properties that are not inheritable, such as quotas and canmount: set those to their
// default. (ZFS_IOC_INHERIT_PROP, OpenZFS 2.1 to 2.4.)
func (h *Handle) Inherit(name, property string) error {
	const op = "inherit"
	if err := checkName(name); err != nil {
		return err
	}
	if err := checkPropertyName(property); err != nil {
		return invalid(op, name, "%v", err)
	}
	c := newCommand()
	c.setName(name)
	c.setValue(property)
	_, errno := h.exchange(iocInheritProp, c, nil, nil)
	if errno == unix.ENOENT && isUserProperty(property) {
		if there, err := h.Exists(name); err == nil && there {
			return nil // no such property
		}
	}
	return h.fail(op, name, errno)
}
