package layertar

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Bounds on names. The kernel sets the first; the second only keeps a hostile
// tar from making every entry a walk of half a million steps.
const (
	maxName = unix.NAME_MAX
	maxPath = 32 << 10
)

// cleanPath is an entry's name as a path relative to the layer's root, which
// is ".". Unlike path.Clean it notices when ".." leads above an absolute
// name's root.
func cleanPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fault.New(fault.UnsafeInput, "the name holds a NUL byte")
	}
	if len(name) > maxPath {
		return "", fault.New(fault.UnsafeInput, "the name has %d bytes, the most is %d: %w", len(name), maxPath, unix.ENAMETOOLONG)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return "", fault.New(fault.UnsafeInput, `the name's ".." leads above the layer's root`)
		}
	}
	return path.Clean(strings.TrimLeft(name, "/")), nil
}

// checkLengths refuses a component that no file system stores.
func checkLengths(path string) error {
	for part := range strings.SplitSeq(path, "/") {
		if len(part) > maxName {
			return fault.New(fault.UnsafeInput, "a component has %d bytes, the most is %d: %w (ENAMETOOLONG)", len(part), maxName, unix.ENAMETOOLONG)
		}
	}
	return nil
}

// split cuts a clean path into its directory and name.
func split(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}

// quote shows a name from outside in an error, whatever it holds and however
// long it is.
func quote(name string) string {
	const most = 160
	if len(name) > most {
		return fmt.Sprintf("%q… (%d bytes)", name[:most], len(name))
	}
	return fmt.Sprintf("%q", name)
}

// inEntry says which entry an error is about; nil stays nil.
func inEntry(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("entry %s: %w", quote(name), err)
}
