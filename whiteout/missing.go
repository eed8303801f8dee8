package whiteout

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Missing is the error of a file system, or a process, that cannot hold
// overlayfs upper directories. Its class is fault.Unsupported.
type Missing struct {
	Dir      string
	Features []Lack
}

// Lack is one feature that is missing.
type Lack struct {
	Feature string // "RENAME_WHITEOUT", …
	Found   string // "OpenZFS 2.1.11"; for a missing capability, the process and kernel
	Needs   string // the version that has it, the capability, or other advice
	Err     error  // the kernel's error, if there is one
}

// Error returns a sentence for every missing feature.
func (m *Missing) Error() string {
	lines := make([]string, len(m.Features))
	for i, f := range m.Features {
		lines[i] = f.String()
	}
	return fmt.Sprintf("%s cannot hold overlayfs layers: %s", m.Dir, strings.Join(lines, "; "))
}

// Unwrap returns the class and the kernel's errors.
func (m *Missing) Unwrap() []error {
	errs := []error{fault.Unsupported}
	for _, f := range m.Features {
		if f.Err != nil {
			errs = append(errs, f.Err)
		}
	}
	return errs
}

// String returns a sentence about the feature.
func (l Lack) String() string {
	said := ""
	if l.Err != nil {
		said = fmt.Sprintf(" (%v)", l.Err)
	}
	return fmt.Sprintf("%s cannot %s%s; overlayfs needs it: %s", l.Found, l.Feature, said, l.Needs)
}
