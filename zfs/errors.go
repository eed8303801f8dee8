package zfs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Kind is a kind of failure. It is an error itself, so that errors.Is(err, ErrBusy) asks for
// it. A Kind is what ZFS answered, and finer than the class that says what to do: four kinds
// are fault.Unsupported, each put right in another way. Callers that ask what became of their own
// request ask for the Kind; others ask for the class, which an *Error carries where one fits.
type Kind string

// Error returns the kind in words.
func (k Kind) Error() string { return string(k) }

// The kinds of failure. An *Error also answers to its errno and to the class
// of internal/fault that its kind belongs to.
const (
	ErrNotExist     Kind = "does not exist"
	ErrExist        Kind = "already exists"
	ErrBusy         Kind = "is in use"
	ErrNoSpace      Kind = "no space or quota left" // ENOSPC and EDQUOT
	ErrSuspended    Kind = "the pool is suspended"
	ErrReadOnly     Kind = "read-only"
	ErrNotPermitted Kind = "not permitted"
	ErrUnsupported  Kind = "not supported by this OpenZFS"
	ErrNoDevice     Kind = "/dev/zfs is missing or refused"
	ErrUnknownABI   Kind = "the zfs module's interface is not the known one"
	ErrInvalid      Kind = "invalid argument" // names are refused as fault.Invalid, which covers this too
	ErrClosed       Kind = "the handle on /dev/zfs is closed"
)

// Error is a failed request to ZFS.
type Error struct {
	Op    string     // the operation: "create", "snapshot", …
	Name  string     // the dataset, snapshot or pool; empty if there is none
	Errno unix.Errno // the kernel's answer; 0 if it was not asked
	Kind  Kind       // one of the Err… values, or empty
	// Each lists the refused names of a request on several names. Unless its method says
	// otherwise, such a request changed nothing.
	Each []NameError

	reason string
	remedy string
}

// NameError is the refusal of one name of a request that had several.
type NameError struct {
	Name  string
	Errno unix.Errno
}

// Error returns operation, name, reason and, if one is known, the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("zfs " + e.Op)
	if e.Name != "" {
		fmt.Fprintf(&b, " %.300q", e.Name)
	}
	b.WriteString(": " + e.why())
	if e.remedy != "" {
		b.WriteString("; " + e.remedy)
	}
	return b.String()
}

// why returns the reason: our own text, else the refused names, else the errno's text.
func (e *Error) why() string {
	const most = 5
	if e.reason != "" {
		return e.reason
	}
	if len(e.Each) > 1 || len(e.Each) == 1 && e.Each[0].Name != e.Name {
		var parts []string
		for i, each := range e.Each {
			if i == most {
				parts = append(parts, fmt.Sprintf("and %d more", len(e.Each)-most))
				break
			}
			parts = append(parts, fmt.Sprintf("%s: %s", each.Name, describe(each.Errno)))
		}
		return strings.Join(parts, ", ")
	}
	return describe(e.Errno)
}

// Unwrap returns the kind, the class of internal/fault and the errno, those that are known.
func (e *Error) Unwrap() []error {
	var all []error
	if e.Kind != "" {
		all = append(all, e.Kind)
	}
	if class := e.class(); class != "" {
		all = append(all, class)
	}
	if e.Errno != 0 {
		all = append(all, e.Errno)
	}
	return all
}

// asError returns the *Error in err, or nil.
func asError(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}

// kindClasses maps kinds to classes.
var kindClasses = map[Kind]fault.Class{
	ErrNotExist:     fault.NotFound,
	ErrExist:        fault.Exists,
	ErrBusy:         fault.Busy,
	ErrNoSpace:      fault.NoSpace,
	ErrSuspended:    fault.PoolUnavailable,
	ErrReadOnly:     fault.ReadOnly,
	ErrNotPermitted: fault.Unsupported,
	ErrUnsupported:  fault.Unsupported,
	ErrNoDevice:     fault.Unsupported,
	ErrUnknownABI:   fault.Unsupported,
	ErrInvalid:      fault.Invalid,
}

func (e *Error) class() fault.Class {
	switch e.Errno {
	case unix.EDQUOT:
		return fault.LimitReached
	case unix.EIO, unix.ENXIO:
		if e.Kind == "" {
			return fault.PoolUnavailable
		}
	}
	return kindClasses[e.Kind]
}

// errnoKinds maps errnos to kinds, for every request.
var errnoKinds = map[unix.Errno]Kind{
	unix.ENOENT:       ErrNotExist,
	unix.EEXIST:       ErrExist,
	unix.EBUSY:        ErrBusy,
	errExporting:      ErrBusy,
	unix.ENOSPC:       ErrNoSpace,
	unix.EDQUOT:       ErrNoSpace,
	unix.EAGAIN:       ErrSuspended,
	unix.EROFS:        ErrReadOnly,
	unix.EPERM:        ErrNotPermitted,
	unix.EACCES:       ErrNotPermitted,
	unix.EOPNOTSUPP:   ErrUnsupported,
	errCmdUnavail:     ErrUnsupported,
	errArgUnavail:     ErrUnsupported,
	errArgRequired:    ErrUnsupported,
	errArgBadType:     ErrUnsupported,
	unix.EINVAL:       ErrInvalid,
	unix.ENAMETOOLONG: ErrInvalid,
	errBadProp:        ErrInvalid,
}

// kindRemedies are remedies for kinds whose class has none in fault.Advice.
var kindRemedies = map[Kind]string{
	ErrSuspended:    "`zpool clear` resumes it once they are back",
	ErrNotPermitted: "run as root with CAP_SYS_ADMIN in the initial user name space",
	ErrUnsupported:  "upgrade OpenZFS to 2.2 or later, and the pool's features with `zpool upgrade`",
	ErrNotExist:     "`zfs list -t all` shows what there is, `zpool import` which pools are not imported",
}

// failure returns the error of a request that the kernel refused.
func failure(op, name string, errno unix.Errno) *Error {
	kind := errnoKinds[errno]
	e := &Error{Op: op, Name: name, Errno: errno, Kind: kind, remedy: kindRemedies[kind]}
	if kind == ErrSuspended {
		e.reason = "the pool is suspended: its devices do not answer"
	}
	return e
}

// invalid returns the error of a request that was not made.
func invalid(op, name, format string, args ...any) *Error {
	return &Error{Op: op, Name: name, Kind: ErrInvalid, reason: fmt.Sprintf(format, args...)}
}
