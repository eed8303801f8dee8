package zfs

import (
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// act makes a request whose argument is a list and which changes something.
func (h *Handle) act(op string, req request, name string, args nvlist.List) error {
	src, err := nvlist.Encode(args)
	if err != nil {
		return invalid(op, name, "%v", err)
	}
	c := newCommand()
	c.setName(name)
	answer, errno := h.alter(req, c, src)
	return withEach(h.fail(op, name, errno), answer)
}

// withEach adds to a failure which names were refused. Names map to errnos in
// the module's answer; a count of further ones, N_MORE_ERRORS, may end it.
func withEach(err error, answer nvlist.List) error {
	e := asError(err)
	if e == nil {
		return err
	}
	for _, pair := range answer {
		if errno, ok := pair.Value.(int32); ok && errno > 0 && pair.Name != moreErrors {
			e.Each = append(e.Each, NameError{Name: pair.Name, Errno: unix.Errno(errno)})
		}
	}
	return e
}

// moreErrors is ZPROP_N_MORE_ERRORS of include/sys/fs/zfs.h.
const moreErrors = "N_MORE_ERRORS"
