// Package volumes names Docker's volumes, and tells which of them lie on datasets that a
// rollback takes back.
package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// Volumes are the names of a data-root's volumes.
type Volumes struct {
	Back []string `json:"back"` // their content goes back
	Stay []string `json:"stay"` // they keep their content
}

// Sort sorts the volumes of a data-root. goesBack reports whether a dataset goes back. A volume
// that Docker mounts only while it is used lies where its empty directory does.
func Sort(root string, goesBack func(dataset string) bool) (v Volumes, err error) {
	dir := filepath.Join(root, "volumes")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("list the volumes: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() && entry.Type()&fs.ModeSymlink == 0 {
			continue // metadata.db, backingFsBlockDev
		}
		back, err := liesOn(filepath.Join(dir, entry.Name()), goesBack)
		switch {
		case err != nil:
			return v, err
		case back:
			v.Back = append(v.Back, entry.Name())
		default:
			v.Stay = append(v.Stay, entry.Name())
		}
	}
	slices.Sort(v.Back)
	slices.Sort(v.Stay)
	return v, nil
}

// liesOn reports whether a volume's files lie on a dataset that goes back. The volume or its
// directory _data may be a link, or a mount.
func liesOn(volume string, goesBack func(dataset string) bool) (bool, error) {
	path, err := filepath.EvalSymlinks(filepath.Join(volume, "_data"))
	if errors.Is(err, fs.ErrNotExist) {
		path, err = volume, nil
	}
	if err != nil {
		return false, fmt.Errorf("find where volume %s lies: %w", filepath.Base(volume), err)
	}
	info, err := mount.FindByPath(path)
	if err != nil {
		return false, err
	}
	return info.FSType == "zfs" && goesBack(info.Source), nil
}
