package treediff

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Kind is what happened to a path.
type Kind int

// The kinds of change. Their numbers are what every engine's protocol uses.
const (
	Modify Kind = iota
	Add
	Delete
)

// String is the letter that `docker diff` shows.
func (k Kind) String() string {
	switch k {
	case Modify:
		return "C"
	case Add:
		return "A"
	case Delete:
		return "D"
	}
	return "?"
}

// Change is one changed path, which begins with '/' and is the tree's root's
// child or deeper.
type Change struct {
	Path string
	Kind Kind
}

// sorted puts changes in the order of their paths, parents first.
func sorted(changes []Change) []Change {
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes
}

// different reports whether two entries of the same name differ.
func different(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error) {
	if statDiffers(n, o) {
		return true, nil
	}
	if n.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	newCap, err := capability(newDir, name)
	if err != nil {
		return false, err
	}
	oldCap, err := capability(oldDir, name)
	return !bytes.Equal(newCap, oldCap), err
}

func statDiffers(n, o unix.Stat_t) bool {
	if n.Mode != o.Mode || n.Uid != o.Uid || n.Gid != o.Gid || n.Rdev != o.Rdev {
		return true
	}
	return n.Mode&unix.S_IFMT != unix.S_IFDIR && (n.Size != o.Size || !sameTime(n.Mtim, o.Mtim))
}

// sameTime compares modification times. One without nanoseconds came out of a
// tar that did not carry them, and equals any within its second.
func sameTime(a, b unix.Timespec) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

func capability(dir int, name string) ([]byte, error) {
	value, err := fsat.GetXattr(dir, name, "security.capability")
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return value, err
}
