package whiteout

import (
	"path"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The names a layer tar reserves.
const (
	Prefix       = ".wh."         // and the name of what is gone
	MetaPrefix   = ".wh..wh."     // AUFS's own files
	OpaqueMarker = ".wh..wh..opq" // in a directory that hides all below it
)

// Kind is what an entry of a layer tar stands for.
type Kind int

// The kinds.
const (
	None     Kind = iota // itself
	Whiteout             // the absence of the target
	Opaque               // the target, a directory, hides the one below it
	Metadata             // AUFS's bookkeeping: no part of the layer
)

// Classify says what the entry called name, a clean slash path, stands for,
// and which path that concerns ("." is the layer's root).
func Classify(name string) (kind Kind, target string, err error) {
	dir, base := path.Split(name)
	kind, err = parents(name, dir)
	if kind != None || err != nil {
		return kind, name, err
	}
	switch {
	case base == OpaqueMarker:
		return Opaque, path.Clean(dir), nil
	case strings.HasPrefix(base, MetaPrefix):
		return Metadata, name, nil
	case strings.HasPrefix(base, Prefix):
		target, err = hidden(name, strings.TrimPrefix(base, Prefix))
		return Whiteout, dir + target, err
	}
	return None, name, nil
}

// parents refuses a path through a whiteout, which is no directory, and
// recognises one through AUFS's bookkeeping.
func parents(name, dir string) (Kind, error) {
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		switch {
		case part == OpaqueMarker:
			return None, fault.New(fault.UnsafeInput, "%q lies below an opaque marker", name)
		case strings.HasPrefix(part, MetaPrefix):
			return Metadata, nil
		case strings.HasPrefix(part, Prefix):
			return None, fault.New(fault.UnsafeInput, "%q lies below a whiteout", name)
		}
	}
	return None, nil
}

// hidden checks the name that a whiteout removes.
func hidden(name, target string) (string, error) {
	switch target {
	case "":
		return "", fault.New(fault.UnsafeInput, "whiteout %q names nothing", name)
	case ".", "..":
		return "", fault.New(fault.UnsafeInput, "whiteout %q would remove %q", name, target)
	}
	return target, nil
}

// Name is the name, in a layer tar, of the whiteout that removes base.
func Name(base string) string { return Prefix + base }

// CheckName says whether a file called base can be told from a whiteout in a
// layer tar. The format knows no way to escape the prefix.
func CheckName(base string) error {
	if !strings.HasPrefix(base, Prefix) {
		return nil
	}
	return fault.New(fault.Unsupported,
		"a file called %q cannot be stored in a layer: names that begin with %q mean deletions there; rename or remove it", base, Prefix)
}
