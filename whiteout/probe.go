package whiteout

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Probe tries, in a temporary directory inside dir, everything overlayfs asks
// of an upper directory's file system, and leaves nothing behind. What is
// missing comes back as one *Missing; an attempt that failed for another
// reason (no space, an I/O error) proves nothing and is returned as itself.
func Probe(ctx context.Context, dir string) error {
	return probe(ctx, dir, kernel{})
}

// probe is Probe with the system calls to use.
func probe(ctx context.Context, dir string, sys system) (err error) {
	tmp, err := os.MkdirTemp(dir, ".overlayzfs-probe-")
	if err != nil {
		return fault.Classify(fmt.Errorf("probe what the file system can do: %w", err))
	}
	defer func() {
		if left := os.RemoveAll(tmp); err == nil && left != nil {
			err = fault.Classify(fmt.Errorf("clean up after the probe: %w", left))
		}
	}()
	var lacks []Lack
	for _, f := range features {
		if err := ctx.Err(); err != nil {
			return err
		}
		lack, err := f.probe(sys, tmp)
		if err != nil {
			return fault.Classify(fmt.Errorf("probe %s in %s: %w", f.name, dir, err))
		}
		if lack != nil {
			lacks = append(lacks, *lack)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return &Missing{Dir: dir, Features: lacks}
}

// errAbsent is of an attempt that succeeded and showed the feature missing.
var errAbsent = errors.New("absent")

// unsupported are the errnos by which a kernel says "I cannot do this at all".
var unsupported = map[unix.Errno]bool{
	unix.EINVAL:     true,
	unix.ENOSYS:     true,
	unix.EOPNOTSUPP: true,
	unix.ENOTTY:     true,
	unix.EISDIR:     true, // O_TMPFILE where nobody knows it
}

// feature is one thing to try.
type feature struct {
	name       string
	needs      string // which version has it, or what else helps
	capability string // which one an EPERM is about
	try        func(sys system, dir string) error
}

// probe tries the feature and judges the outcome.
func (f feature) probe(sys system, tmp string) (*Lack, error) {
	err := f.try(sys, tmp)
	var errno unix.Errno
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, errAbsent):
		return &Lack{f.name, sys.fileSystem(tmp), f.needs, nil}, nil
	case !errors.As(err, &errno):
		return nil, err
	case errno == unix.EPERM && f.capability != "":
		needs := "give this process " + f.capability
		return &Lack{f.name, "this process, on " + sys.release() + ",", needs, errno}, nil
	case unsupported[errno]:
		return &Lack{f.name, sys.fileSystem(tmp), f.needs, errno}, nil
	}
	return nil, err
}
