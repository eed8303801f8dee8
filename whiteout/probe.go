package whiteout

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Probe tries everything that overlayfs needs of an upper directory's file system, in a
// temporary directory inside dir that it removes. It returns one *Missing with all missing
// features. An attempt that fails for another reason (no space, an I/O error) proves nothing,
// and its error is returned.
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

// errAbsent is returned when an attempt succeeds and shows that the feature is missing.
var errAbsent = errors.New("absent")

// unsupported are the errnos with which a kernel refuses what it does not support.
var unsupported = map[unix.Errno]bool{
	unix.EINVAL:     true,
	unix.ENOSYS:     true,
	unix.EOPNOTSUPP: true,
	unix.ENOTTY:     true,
	unix.EISDIR:     true, // O_TMPFILE on a kernel or file system without it
}

// feature is one feature to probe.
type feature struct {
	name       string
	needs      string // the version that has it, or other advice
	capability string // the capability that an EPERM means
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
