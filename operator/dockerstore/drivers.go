package dockerstore

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// imagesDir is where Docker has its records of images and layers, by driver.
const imagesDir = "image"

// maxNameParts bounds how deep records are looked for: no name of a plugin has as
// many parts.
const maxNameParts = 16

// recordDirs are the directories that a driver's records consist of.
var recordDirs = []string{"layerdb", "imagedb", "distribution"}

// Drivers lists the storage drivers that Docker has records for. What else is
// where they are found is an error, a symlink too: there might be a driver's.
// Those that were found come with it.
func (r *Root) Drivers() (drivers []string, err error) {
	err = r.findDrivers(&drivers, "", 0)
	if errors.Is(err, fs.ErrNotExist) && !r.exists(imagesDir) {
		return nil, nil
	}
	return drivers, err
}

// findDrivers looks for records in a directory and below it: the name of a plugin
// has slashes, and Docker makes directories of it as it is.
func (r *Root) findDrivers(found *[]string, name string, parts int) error {
	dir := path.Join(imagesDir, name)
	entries, err := r.list(dir)
	if err != nil {
		return err
	}
	if parts > maxNameParts {
		return fault.New(fault.UnsafeInput, "%q is deeper than any driver's name", dir)
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
			errs = append(errs, fault.New(fault.Unsupported, "%q is not known of Docker 20.10 to 27", path.Join(imagesDir, below)))
		}
	}
	return errors.Join(errs...)
}

// isRecordDir reports whether a directory with such an entry is a driver's.
func isRecordDir(entry fs.DirEntry) bool {
	return entry.Name() == "layerdb" || entry.Name() == "imagedb"
}

// isRecordEntry reports whether an entry is one of those that a driver's directory
// has: directories, and the list of names with what a new one is written to.
func isRecordEntry(entry fs.DirEntry) bool {
	return slices.Contains(recordDirs, entry.Name()) || entry.Name() == "repositories.json" ||
		strings.HasPrefix(entry.Name(), ".tmp-repositories.json")
}

// checkDriver makes sure that a driver's name is a path below image/.
func checkDriver(driver string) error {
	if !fs.ValidPath(driver) || driver == "." || strings.ContainsRune(driver, 0) {
		return fault.New(fault.Invalid, "%.80q is no storage driver's name", driver)
	}
	return nil
}
