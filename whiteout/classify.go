package whiteout

import (
	"path"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The names a layer tar reserves.
const (
	Prefix       = ".wh."         // followed by the name of the deleted file
	MetaPrefix   = ".wh..wh."     // AUFS's own files
	LinkStore    = ".wh..wh.plnk" // AUFS's directory, in the root, of files with several names
	OpaqueMarker = ".wh..wh..opq" // in a directory that hides all below it
)

// Kind is the meaning of an entry in a layer tar.
type Kind int

// The kinds.
const (
	None     Kind = iota // an ordinary entry
	Whiteout             // the target is deleted
	Opaque               // the target, a directory, hides the one below it
	Metadata             // AUFS's bookkeeping, not part of the layer
)

// Classify returns the meaning of an entry by its name, a clean slash path, and the path it
// applies to ("." is the layer's root). Only the last component can delete: a file in a
// directory whose name begins with Prefix is an ordinary one.
func Classify(name string) (kind Kind, target string, err error) {
	dir, base := path.Split(name)
	switch {
	case isBelowMetadata(dir):
		return Metadata, name, nil
	case base == OpaqueMarker:
		return Opaque, path.Clean(dir), nil
	case strings.HasPrefix(base, MetaPrefix):
		return Metadata, name, nil
	case strings.HasPrefix(base, Prefix):
		target, err = checkTarget(name, strings.TrimPrefix(base, Prefix))
		return Whiteout, dir + target, err
	}
	return None, name, nil
}

// isBelowMetadata reports whether a directory of AUFS's bookkeeping is on the path.
func isBelowMetadata(dir string) bool {
	return strings.HasPrefix(dir, MetaPrefix) || strings.Contains(dir, "/"+MetaPrefix)
}

// IsLinked reports whether an entry lies in LinkStore. Hard links of the layer lead there,
// although the directory itself is Metadata.
func IsLinked(name string) bool { return strings.HasPrefix(name, LinkStore+"/") }

// checkTarget refuses a whiteout of an impossible name.
func checkTarget(name, target string) (string, error) {
	switch target {
	case "":
		return "", fault.New(fault.UnsafeInput, "whiteout %q names nothing", name)
	case ".", "..":
		return "", fault.New(fault.UnsafeInput, "whiteout %q would remove %q", name, target)
	}
	return target, nil
}

// Name returns the name, in a layer tar, of the whiteout of base.
func Name(base string) string { return Prefix + base }

// CheckName refuses a file name that a layer tar could not tell from a whiteout. The format
// has no way to escape the prefix.
func CheckName(base string) error {
	if !strings.HasPrefix(base, Prefix) {
		return nil
	}
	return fault.New(fault.Unsupported,
		"a file called %q cannot be stored in a layer: names that begin with %q mean deletions there; rename or remove it", base, Prefix)
}
