package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Class is a kind of failure. It is an error itself, so that
// errors.Is(err, fault.NotFound) asks for it.
type Class string

// Error returns the class's name.
func (c Class) Error() string { return string(c) }

// The classes. A failure without a class is a bug of ours or an unknown kernel error.
const (
	NotFound        Class = "not found"
	Exists          Class = "already exists"
	Busy            Class = "busy"
	Invalid         Class = "invalid argument"
	UnsafeInput     Class = "unsafe input"
	Unsupported     Class = "unsupported"
	LimitReached    Class = "limit reached"
	NoSpace         Class = "no space"
	ReadOnly        Class = "read-only"
	PoolUnavailable Class = "pool unavailable"
	Interrupted     Class = "interrupted"
	HomeGone        Class = "home gone" // the dataset is not mounted on the home any more
)

// classified is an error with a class. Both the class and the cause stay reachable.
type classified struct {
	class    Class
	err      error
	complete bool // the message says what to do
}

func (e *classified) Error() string   { return e.err.Error() }
func (e *classified) Unwrap() []error { return []error{e.class, e.err} }

// New returns an error of the class whose text is the formatted message; %w
// keeps a cause reachable.
func New(class Class, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...)}
}

// NewWithRemedy is New for a message that itself says what to do, or that nothing is to be
// done. Text does not add the class's remedy to it.
func NewWithRemedy(class Class, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...), complete: true}
}

// Op is the context of a failure: what was being done, on what.
type Op struct {
	Name    string // "create", "apply diff", …
	Layer   string // the layer's ID, if one was named
	Dataset string // the dataset, if one is known
}

// OpError is a failure with its context.
type OpError struct {
	Op
	Err error
}

// Error names operation, layer and dataset before the cause.
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	if e.Layer != "" {
		fmt.Fprintf(&b, " layer %s", printable(e.Layer))
	}
	if e.Dataset != "" {
		fmt.Fprintf(&b, " on dataset %s", e.Dataset)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// AddContext returns err with its context. An error that has a context keeps it, and nil
// stays nil.
func AddContext(op Op, err error) error {
	var inner *OpError
	if err == nil || errors.As(err, &inner) {
		return err
	}
	return &OpError{Op: op, Err: Classify(err)}
}

// errnoClasses maps the kernel's errnos to classes.
var errnoClasses = []struct {
	errno unix.Errno
	class Class
}{
	{unix.ENOSPC, NoSpace},
	{unix.EDQUOT, LimitReached},
	{unix.EROFS, ReadOnly},
	{unix.EBUSY, Busy},
	{unix.EIO, PoolUnavailable},
	{unix.ENXIO, PoolUnavailable},
}

// Classify returns err with the class that its errno implies. An error that has a class,
// or whose errno implies none, is returned unchanged.
func Classify(err error) error {
	if err == nil || ClassOf(err) != "" {
		return err
	}
	for _, known := range errnoClasses {
		if errors.Is(err, known.errno) {
			return &classified{class: known.class, err: err}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &classified{class: NotFound, err: err}
	}
	return err
}

// ClassOf returns the class err carries, or "" when it carries none.
func ClassOf(err error) Class {
	var c Class
	if errors.As(err, &c) {
		return c
	}
	return ""
}

// printable returns a layer's ID for an error's text: cut when it is long, quoted when it
// holds anything but printable ASCII.
func printable(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
