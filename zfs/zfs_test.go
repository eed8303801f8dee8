package zfs

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestCheckDatasetName(t *testing.T) {
	good := []string{"tank", "tank/layers", "tank/a b/c-d_e.f:g", "rpool/docker/overlayzfs", strings.Repeat("a", 255)}
	for _, name := range good {
		if err := CheckDatasetName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []string{"", "/tank", "tank/", "tank//x", "tank/../x", "tank/.", "tank@snap", "tank#mark", "tank/\x00", "tank\nx",
		"tank/ü", "tank,ro", strings.Repeat("a", 256)}
	for _, name := range bad {
		if err := CheckDatasetName(name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestExplainMountClassifies(t *testing.T) {
	tests := map[unix.Errno]fault.Class{
		unix.ENOENT: fault.NotFound,
		unix.ENODEV: fault.Unsupported,
		unix.EBUSY:  fault.Busy,
		unix.EACCES: fault.Unsupported,
		unix.EPERM:  fault.Unsupported,
		unix.EINVAL: fault.Invalid,
		unix.EIO:    fault.PoolUnavailable,
	}
	for errno, want := range tests {
		err := explainMount("tank/x", errno)
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v became %v, want class %q", errno, err, want)
		}
	}
	if err := explainMount("tank/x", nil); err != nil {
		t.Errorf("success became %v", err)
	}
}
