package engine

import (
	"errors"
	"fmt"
	"path/filepath"
)

// SnapshotterLayers lists the layers in the snapshotter's store.
func SnapshotterLayers() ([]string, error) {
	return filepath.Glob(filepath.Join(SnapshotterHome, "[0-9]*"))
}

// NoSnapshotterLayers is an error while there are layers.
func NoSnapshotterLayers() error {
	left, err := SnapshotterLayers()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("layers are left: %q", left)
	}
	return err
}

// Unpacking is an error until files of a layer are there.
func Unpacking() error {
	found, err := filepath.Glob(filepath.Join(SnapshotterHome, "[0-9]*", "diff", "usr", "*"))
	if err == nil && len(found) == 0 {
		err = errors.New("nothing is being unpacked")
	}
	return err
}
