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

// The classes. A failure without one is a bug of ours or news from the kernel.
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
	HomeGone        Class = "home gone" // the home no longer shows the dataset
)

// classified ties a class to a message, keeping the cause reachable.
type classified struct {
	class Class
	err   error
	told  bool // what to do is in the message
}

func (e *classified) Error() string   { return e.err.Error() }
func (e *classified) Unwrap() []error { return []error{e.class, e.err} }

// New returns an error of the class whose text is the formatted message; %w
// keeps a cause reachable.
func New(class Class, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...)}
}

// Told is New for a message that says by itself what to do, or that nothing is to be
// done: the class's remedy, which is for what the kernel refuses, is not added.
func Told(class Class, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...), told: true}
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

// In wraps err with its context; nil stays nil, and an error that already
// has a context keeps the inner one.
func In(op Op, err error) error {
	var inner *OpError
	if err == nil || errors.As(err, &inner) {
		return err
	}
	return &OpError{Op: op, Err: Classify(err)}
}

// errnoClasses says which class a kernel's refusal belongs to.
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

// Classify gives err the class that its errno implies, if it has none yet.
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

// printable keeps a hostile or endless name from flooding a log line.
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
