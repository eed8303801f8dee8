package overlayzfs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// ownName is the store's own name, chosen at random when there is none yet. It
// tells its layers' datasets from those of another store on the same dataset,
// and goes with the store when that is copied, sent or rolled back.
func ownName(h home) (string, error) {
	path := h.own(storeName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nameStore(path)
	}
	if err == nil && !shortPattern.Match(raw) {
		err = fault.New(fault.Invalid, "%s does not hold the store's name but %.40q: the store is damaged", path, raw)
	}
	return string(raw), err
}

func nameStore(path string) (string, error) {
	name := newShort()
	return name, writeWhole(path, []byte(name))
}
