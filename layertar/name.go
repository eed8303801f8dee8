package layertar

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Bounds on names. The kernel sets maxName. maxPath keeps a hostile tar from making every
// entry a walk of half a million steps.
const (
	maxName = unix.NAME_MAX
	maxPath = 32 << 10
)

// cleanPath returns an entry's name as a path relative to the layer's root, which is ".". A
// ".." at the root stays there, as in a chroot.
func cleanPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fault.New(fault.UnsafeInput, "the name holds a NUL byte")
	}
	if len(name) > maxPath {
		return "", fault.New(fault.UnsafeInput, "the name has %d bytes, the most is %d: %w", len(name), maxPath, unix.ENAMETOOLONG)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	for strings.HasPrefix(clean, "../") { // Clean leaves only those at the start
		clean = clean[len("../"):]
	}
	if clean == ".." {
		return ".", nil
	}
	return clean, nil
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

// quote returns a name from a tar for an error's text: escaped, and cut when it is long.
func quote(name string) string {
	const most = 160
	if len(name) > most {
		return fmt.Sprintf("%q… (%d bytes)", name[:most], len(name))
	}
	return fmt.Sprintf("%q", name)
}

// wrapEntry adds the entry's name to an error; nil stays nil.
func wrapEntry(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("entry %s: %w", quote(name), err)
}
