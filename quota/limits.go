package quota

import (
	"fmt"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Limits are what a layer may hold; zero is no limit.
type Limits struct {
	Bytes  uint64 `json:"bytes,omitempty"`
	Inodes uint64 `json:"inodes,omitempty"`
}

// Usage is what a layer holds: bytes as the pool allocated them, compressed and
// with metadata, and files, directories and the like.
type Usage struct {
	Bytes, Inodes uint64
}

// Spec is what is asked for a layer: limits, and properties of the dataset
// that its files are written to.
type Spec struct {
	Limits
	Properties Properties
}

// Empty reports whether nothing is asked for: such a layer costs nothing.
func (s Spec) Empty() bool { return s.Limits == Limits{} && len(s.Properties) == 0 }

// changed is what differs from before: a limit that stays is not judged anew.
func (l Limits) changed(before Limits) Limits {
	if l.Bytes == before.Bytes {
		l.Bytes = 0
	}
	if l.Inodes == before.Inodes {
		l.Inodes = 0
	}
	return l
}

// smallestLimit keeps a limit from being one in which not even the layer's own
// two directories fit.
const smallestLimit = 1 << 20

// largestLimit is where sums of limits and usage are still far from overflow.
const largestLimit = 1 << 60

// hold reports that a layer holds more than the limits.
func (l Limits) hold(used Usage) error {
	if l.Bytes > 0 && l.Bytes < used.Bytes {
		return tooSmall(l.Bytes, used.Bytes, "bytes")
	}
	if l.Inodes > 0 && l.Inodes < used.Inodes {
		return tooSmall(l.Inodes, used.Inodes, "files")
	}
	return nil
}

func tooSmall(limit, used uint64, unit string) error {
	return fault.New(fault.LimitReached, "a limit of %d %s is below the %d that the layer holds; delete files in the container first", limit, unit, used)
}

// ParseBytes reads a size such as 500M or 10G, in powers of 1024 as Docker
// reads it. 0 is no limit.
func ParseBytes(key, value string) (uint64, error) {
	size, err := units.RAMInBytes(value)
	switch {
	case err != nil || size < 0 || size > largestLimit:
		return 0, fault.New(fault.Invalid, "storage option %s=%q: want a size such as 500M or 10G, or 0 for no limit", key, value)
	case size > 0 && size < smallestLimit:
		return 0, fault.New(fault.Invalid, "storage option %s=%q: the smallest limit is 1M", key, value)
	}
	return uint64(size), nil
}

// ParseInodes reads a number of files. 0 is no limit.
func ParseInodes(key, value string) (uint64, error) {
	var n uint64
	if _, err := fmt.Sscanf(value, "%d", &n); err != nil || fmt.Sprint(n) != value || n > 1<<48 {
		return 0, fault.New(fault.Invalid, "storage option %s=%q: want a number of files, or 0 for no limit", key, value)
	}
	if n > 0 && n < smallestInodes {
		return 0, fault.New(fault.Invalid, "storage option %s=%q: the smallest limit is %d files", key, value, smallestInodes)
	}
	return n, nil
}

// smallestInodes leaves room for the directories that overlayfs itself makes.
const smallestInodes = 16

// Mode is by what means limits are kept.
type Mode string

// The modes. Auto is a choice to be made by probing; Off refuses every limit.
const (
	Auto    Mode = "auto"
	Project Mode = "project"
	Dataset Mode = "dataset"
	Off     Mode = "off"
)

// ParseMode reads the option overlayzfs.quota.
func ParseMode(key, value string) (Mode, error) {
	switch m := Mode(strings.ToLower(value)); m {
	case Auto, Project, Dataset, Off:
		return m, nil
	}
	return "", fault.New(fault.Invalid, "storage option %s=%q: want auto, project, dataset or off", key, value)
}
