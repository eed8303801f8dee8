package snapshotter

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// classes maps the core's classes of errors to containerd's.
var classes = map[fault.Class]error{
	fault.NotFound:        errdefs.ErrNotFound,
	fault.Exists:          errdefs.ErrAlreadyExists,
	fault.Busy:            errdefs.ErrFailedPrecondition,
	fault.Invalid:         errdefs.ErrInvalidArgument,
	fault.UnsafeInput:     errdefs.ErrInvalidArgument,
	fault.Unsupported:     errdefs.ErrFailedPrecondition,
	fault.LimitReached:    errdefs.ErrResourceExhausted,
	fault.NoSpace:         errdefs.ErrResourceExhausted,
	fault.ReadOnly:        errdefs.ErrFailedPrecondition,
	fault.PoolUnavailable: errdefs.ErrUnavailable,
	fault.Interrupted:     errdefs.ErrAborted,
	fault.HomeGone:        errdefs.ErrUnavailable,
}

// translated is an error with one of containerd's classes.
type translated struct {
	text  string
	class error
	err   error
}

func (e *translated) Error() string   { return e.text }
func (e *translated) Unwrap() []error { return []error{e.class, e.err} }

// translate returns err with containerd's class and a text that names operation, snapshot,
// cause and remedy.
func translate(op, key string, err error) error {
	if err == nil {
		return nil
	}
	text := fmt.Sprintf("%s: %s", op, fault.Text(err))
	if key != "" {
		text = fmt.Sprintf("%s %.200q: %s", op, key, fault.Text(err))
	}
	class := containerdClass(err)
	if class == nil {
		class = classes[fault.ClassOf(fault.Classify(err))]
	}
	if class == nil {
		class = errdefs.ErrInternal
	}
	return &translated{text, class, err}
}

// containerdClass returns the class of an error that has one of containerd's, as those of
// its metadata store do, or nil.
func containerdClass(err error) error {
	class := errdefs.Resolve(err)
	if errors.Is(class, errdefs.ErrUnknown) {
		return nil
	}
	return class
}

// addCoreClass adds the core's class to an error of the metadata store, which has only a
// class of containerd.
func addCoreClass(err error) error {
	if err == nil || fault.ClassOf(err) != "" {
		return err
	}
	for _, class := range []fault.Class{fault.NotFound, fault.Exists, fault.Invalid} {
		if errors.Is(err, classes[class]) {
			return fault.New(class, "%w", err)
		}
	}
	return err
}
