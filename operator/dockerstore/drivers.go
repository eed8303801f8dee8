package dockerstore

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// imagesDir has Docker's records of images and layers, one directory a driver.
const imagesDir = "image"

// maxNameParts bounds the depth of the search for records. No plugin's name has as many
// parts.
const maxNameParts = 16

// recordDirs are the directories of a driver's records.
var recordDirs = []string{"layerdb", "imagedb", "distribution"}

// Drivers lists the storage drivers that Docker has records for. Any other file among
// the records is an error, even a symlink, because it might hide a driver. The drivers
// found are returned together with the error.
func (r *Root) Drivers() (drivers []string, err error) {
	err = r.findDrivers(&drivers, "", 0)
	if errors.Is(err, fs.ErrNotExist) && !r.exists(imagesDir) {
		return nil, nil
	}
	return drivers, err
}

// findDrivers looks for records in a directory and below it. The name of a plugin has
// slashes, and Docker creates nested directories from it.
func (r *Root) findDrivers(found *[]string, name string, parts int) error {
	dir := path.Join(imagesDir, name)
	entries, err := r.list(dir)
	if err != nil {
		return err
	}
	if parts > maxNameParts {
		return fault.New(fault.UnsafeInput, "%q has more parts than any driver's name", dir)
	}
	records := name != "" && slices.ContainsFunc(entries, isRecordDir)
	if records {
		*found = append(*found, name)
	}
	var errs []error
	for _, entry := range entries {
		switch below := path.Join(name, entry.Name()); {
		case records && isRecordEntry(entry):
		case entry.IsDir():
			errs = append(errs, r.findDrivers(found, below, parts+1))
		default:
			errs = append(errs, fault.New(fault.Unsupported, "%q is no record of Docker 20.10 to 27", path.Join(imagesDir, below)))
		}
	}
	return errors.Join(errs...)
}

// isRecordDir reports whether a directory with such an entry holds a driver's records.
func isRecordDir(entry fs.DirEntry) bool {
	return entry.Name() == "layerdb" || entry.Name() == "imagedb"
}

// isRecordEntry reports whether an entry belongs to a driver's records: a directory of
// them, the list of names, or the temporary file for a new list.
func isRecordEntry(entry fs.DirEntry) bool {
	return slices.Contains(recordDirs, entry.Name()) || entry.Name() == "repositories.json" ||
		strings.HasPrefix(entry.Name(), ".tmp-repositories.json")
}

// checkDriver fails when a driver's name is not a path below image/.
func checkDriver(driver string) error {
	if !fs.ValidPath(driver) || driver == "." || strings.ContainsRune(driver, 0) {
		return fault.New(fault.Invalid, "%.80q is not the name of a storage driver", driver)
	}
	return nil
}
