package overlayzfs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// formatVersion is the version of the private directory's layout. The files beside it have
// overlay2's format, which has no version.
const formatVersion = 1

// FormatVersion is the version of the store's layout that this program knows.
const FormatVersion = formatVersion

type format struct {
	Version int `json:"version"`
}

// hasKnownFormat reports whether the store has our format file. A store that overlay2 made
// has none yet. An unknown version is an error.
func hasKnownFormat(h home) (bool, error) {
	raw, err := os.ReadFile(h.privatePath(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var f format
	if err := json.Unmarshal(raw, &f); err != nil {
		return false, fault.New(fault.Invalid, "the store is damaged: %s: %w", h.privatePath(formatFile), err)
	}
	if f.Version != formatVersion {
		return false, fault.New(fault.Unsupported, "the store in %s has format version %d, and this overlayzfs knows version %d; use the version that wrote it", h, f.Version, formatVersion)
	}
	return true, nil
}

// writeFormat writes the format file once, in one step.
func writeFormat(h home) error {
	if _, err := os.Lstat(h.privatePath(formatFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw, err := json.Marshal(format{formatVersion})
	if err != nil {
		return err
	}
	return replaceFile(h.privatePath(formatFile), raw)
}

// ensureStoreName returns the store's own name, and chooses one at random for a new store.
// The name tells the datasets of its layers from those of another store on the same
// dataset. It stays with the store when that is copied, sent or rolled back.
func ensureStoreName(h home) (string, error) {
	path := h.privatePath(storeNameFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createStoreName(path)
	}
	if err == nil && !quota.IsKey(string(raw)) {
		err = fault.New(fault.Invalid, "the store is damaged: %s contains %.40q, which is not the name of a store", path, raw)
	}
	return string(raw), err
}

func createStoreName(path string) (string, error) {
	name := NewShortName()
	return name, replaceFile(path, []byte(name))
}

// checkDoor refuses a store of another door. Recovery removes layers that its own door has
// no record of, so two doors with records of their own must not share a store. A store
// without a name is a graphdriver's, as an overlay2 store is. A store without layers
// becomes the first caller's.
func checkDoor(h home, door string) error {
	path := h.privatePath(doorFile)
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(raw) == door {
		return nil
	}
	if len(raw) > 0 {
		return fault.New(fault.Exists, "the store in %s belongs to %q; use another dataset", h, raw)
	}
	links, err := readNames(h.path(linkDir))
	if err != nil {
		return err
	}
	if len(links) > 0 {
		return fault.New(fault.Exists, "the store in %s holds %d layers of a Docker graphdriver, which %q has no record of; use another dataset", h, len(links), door)
	}
	return replaceFile(path, []byte(door))
}

// replaceFile writes a file in one step that a power cut does not tear. Its directory is not
// synced, so the old content may come back.
func replaceFile(path string, data []byte) error {
	return atomicfile.Replace(path, data, atomicfile.Options{Mode: 0o644, Durability: atomicfile.Content, Suffix: newSuffix})
}
