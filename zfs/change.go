package zfs

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// change makes a request that changes something and has a list as its argument. Some
// requests, such as a hold, report success although a name was missing and nothing was
// done. The answer then has that name, and change fails.
func (h *Handle) change(op string, req request, name string, args nvlist.List) error {
	src, err := nvlist.Encode(args)
	if err != nil {
		return invalid(op, name, "%v", err)
	}
	c := newCommand()
	c.setName(name)
	answer, errno := h.alter(req, c, src)
	each := refusals(answer)
	if errno == 0 {
		each = slices.DeleteFunc(each, isRetried)
	}
	if errno == 0 && len(each) > 0 {
		errno = each[0].Errno
	}
	err = h.fail(op, name, errno)
	if e := asError(err); e != nil {
		e.Each = each
	}
	return err
}

// refusals returns the names that were refused. The answer maps names to errnos; a count of
// further ones, N_MORE_ERRORS, may end it.
func refusals(answer nvlist.List) []NameError {
	var each []NameError
	for _, pair := range answer {
		if errno, ok := pair.Value.(int32); ok && errno > 0 && pair.Name != moreErrors {
			each = append(each, NameError{Name: pair.Name, Errno: unix.Errno(errno)})
		}
	}
	return each
}

// isRetried reports whether the module itself has repeated a refused try with success. A
// second snapshot of a dataset has to wait for the next transaction group, and the answer
// still has the errno of the first try.
func isRetried(e NameError) bool { return e.Errno == unix.EAGAIN }

// moreErrors is ZPROP_N_MORE_ERRORS of include/sys/fs/zfs.h.
const moreErrors = "N_MORE_ERRORS"
