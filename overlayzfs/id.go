package overlayzfs

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// maxID is the longest file name a directory can hold (NAME_MAX).
const maxID = 255

// checkID refuses what cannot be the name of a layer's directory: layers sit
// beside l/ and .overlayzfs/, and their names stand in mount options.
func checkID(what, id string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "%s ID %.80q %s", what, id, why)
	}
	switch {
	case id == "":
		return bad("is empty")
	case len(id) > maxID:
		return bad("is longer than 255 bytes")
	case id == linkDir:
		return bad("is reserved for the directory of short links")
	case strings.ContainsRune("._-", rune(id[0])):
		return bad("does not begin with a letter or digit")
	case strings.ContainsFunc(id, notIDRune):
		return bad("has a character other than letters, digits, '_', '.' and '-'")
	}
	return nil
}

func notIDRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_.-", r)
}

// checkPair checks a layer's ID and that of its parent, which may be empty.
func checkPair(id, parent string) error {
	if err := checkID("layer", id); err != nil {
		return err
	}
	if parent == "" {
		return nil
	}
	if parent == id {
		return fault.New(fault.Invalid, "layer %s cannot be its own parent", id)
	}
	return checkID("parent", parent)
}
