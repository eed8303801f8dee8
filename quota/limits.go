package quota

import (
	"fmt"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Limits are the most that a layer may hold. Zero is no limit.
type Limits struct {
	Bytes  uint64 `json:"bytes,omitempty"`
	Inodes uint64 `json:"inodes,omitempty"`
}

// Usage is what a layer holds. Bytes are as the pool allocated them: compressed, and with
// metadata. Inodes are files, directories and the like.
type Usage struct {
	Bytes, Inodes uint64
}

// Spec is the request for a layer: its limits, and properties of the dataset with its files.
type Spec struct {
	Limits
	Properties Properties
	// XIno is XIno of the layer's Record.
	XIno string
}

// Empty reports whether nothing is requested. Such a layer costs nothing.
func (s Spec) Empty() bool { return s.Limits == Limits{} && len(s.Properties) == 0 }

// dropUnchanged returns the limits that differ from before. A limit that stays is not
// checked again.
func (l Limits) dropUnchanged(before Limits) Limits {
	if l.Bytes == before.Bytes {
		l.Bytes = 0
	}
	if l.Inodes == before.Inodes {
		l.Inodes = 0
	}
	return l
}

// minBytes is the smallest limit. The layer's own two directories have to fit in.
const minBytes = 1 << 20

// maxBytes is the largest limit. Sums of limits and usage stay far from an overflow.
const maxBytes = 1 << 60

// CheckUsage returns an error when a layer holds more than the limits.
func (l Limits) CheckUsage(used Usage) error {
	if l.Bytes > 0 && l.Bytes < used.Bytes {
		return limitTooSmallError(l.Bytes, used.Bytes, "bytes")
	}
	if l.Inodes > 0 && l.Inodes < used.Inodes {
		return limitTooSmallError(l.Inodes, used.Inodes, "files")
	}
	return nil
}

func limitTooSmallError(limit, used uint64, unit string) error {
	return fault.New(fault.LimitReached, "a limit of %d %s is below the %d that the layer holds; delete files in the container first", limit, unit, used)
}

// ParseBytes reads a size such as 500M or 10G in powers of 1024, as Docker does. 0 is no
// limit.
func ParseBytes(key, value string) (uint64, error) {
	size, err := units.RAMInBytes(value)
	switch {
	case err != nil || size < 0 || size > maxBytes:
		return 0, fault.New(fault.Invalid, "storage option %s=%q: want a size such as 500M or 10G, or 0 for no limit", key, value)
	case size > 0 && size < minBytes:
		return 0, fault.New(fault.Invalid, "storage option %s=%q: the smallest limit is 1M", key, value)
	}
	return uint64(size), nil
}

// ParseInodes reads a number of files. 0 is no limit.
func ParseInodes(key, value string) (uint64, error) {
	var n uint64
	if _, err := fmt.Sscanf(value, "%d", &n); err != nil || fmt.Sprint(n) != value || n > MaxInodes {
		return 0, fault.New(fault.Invalid, "storage option %s=%q: want a number of files, or 0 for no limit", key, value)
	}
	if n > 0 && n < minInodes {
		return 0, fault.New(fault.Invalid, "storage option %s=%q: the smallest limit is %d files", key, value, minInodes)
	}
	return n, nil
}

// MaxInodes is the largest limit on the number of files. No pool has as many.
const MaxInodes = 1 << 48

// minInodes leaves room for the directories that overlayfs makes.
const minInodes = 16

// Mode is the way in which limits are enforced.
type Mode string

// The modes. Auto is Dataset, whose limits are exact. Project has to be asked for, and Open's
// probe decides whether it can be used. Off refuses every limit.
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
