package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// limitsDir is the directory with the records of limits, in a store.
const limitsDir = ".overlayzfs/limits"

// readLimitedKeys reads in a snapshot of the layers dataset which limited layers have a dataset
// of their own. A store in place has its directory elsewhere, and gives none.
func readLimitedKeys(snapshot string) ([]string, error) {
	root, err := zfs.OpenSnapshot(snapshot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), limitsDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, entry := range entries {
		r, err := quota.ReadRecord(dir, entry.Name())
		if err != nil {
			return nil, err
		}
		if r != nil && r.Mode == quota.Dataset && r.Layer != quota.SpareLayer && quota.IsKey(entry.Name()) {
			keys = append(keys, entry.Name())
		}
	}
	slices.Sort(keys)
	return keys, nil
}
