package treediff

import (
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

// differentStat reports whether two entries of the same name differ, by their attributes and
// without their content.
func differentStat(newDir, oldDir int, name string, n, o unix.Stat_t) (bool, error) {
	if statDiffers(n, o) || n.Mode&unix.S_IFMT != unix.S_IFREG {
		return statDiffers(n, o), nil
	}
	return xattrsDiffer(newDir, oldDir, name, func(attr string) bool { return attr == capability })
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

const capability = "security.capability"

// isLayerXattr reports whether an attribute belongs to what an image says of a file.
// Overlayfs's own and a machine's labels do not.
func isLayerXattr(name string) bool {
	return name == capability || name == fsat.AccessACL || name == fsat.DefaultACL || strings.HasPrefix(name, "user.")
}
