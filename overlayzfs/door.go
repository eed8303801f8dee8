package overlayzfs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// A store belongs to the door that made it: the layers that one caller never
// heard of are what recovery removes, so two callers with records of their own
// must not take turns on it.

// checkDoor refuses a store that belongs to another door than the one that opens
// it. A store without a name is a graphdriver's, as an overlay2 store is; one
// without layers is whoever's asks first.
func checkDoor(h home, door string) error {
	path := h.own(doorName)
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(raw) == door {
		return nil
	}
	if len(raw) > 0 {
		return fault.New(fault.Exists, "the store in %s belongs to %q; give each its own dataset", h, raw)
	}
	links, err := readNames(h.path(linkDir))
	if err != nil {
		return err
	}
	if len(links) > 0 {
		return fault.New(fault.Exists, "the store in %s holds %d layers of a Docker graphdriver, which %q knows nothing of; give it a dataset of its own", h, len(links), door)
	}
	return writeWhole(path, []byte(door))
}

// MakeDoorDir makes the directory in which a door keeps its own records, on the
// dataset and so of the same moment as the layers, and returns its path.
func (d *Driver) MakeDoorDir(name string) (string, error) {
	if err := checkID("door", name); err != nil {
		return "", err
	}
	dir := d.home.own(recordsName, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", d.in("make records of "+name, "", err)
	}
	return dir, nil
}
