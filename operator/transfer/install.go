package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Temporary names in the data-root, which dockerd ignores.
const (
	incomingName = "overlayzfs-received"
	replacedName = "overlayzfs-replaced"
)

// Install replaces a driver's records in the data-root with carried ones. dockerd must
// not run. The new records are complete and durable before the old ones are moved away.
// An interruption between the two renames leaves no records; Install can be repeated.
func Install(root, driver string, carried *dockerstore.Root, records *dockerstore.Records) error {
	if err := os.MkdirAll(root, 0o710); err != nil {
		return err
	}
	to, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	return errors.Join(install(to, driver, carried, records), to.Close())
}

func install(to *os.Root, driver string, carried *dockerstore.Root, records *dockerstore.Records) error {
	names, err := carried.ImageFiles(records)
	if err != nil {
		return err
	}
	if err := errors.Join(to.RemoveAll(incomingName), to.Mkdir(incomingName, 0o700)); err != nil {
		return err
	}
	if err := Mirror(to, incomingName, names, openerBelow(carried, dockerstore.ImagesDir(carriedDriver))); err != nil {
		return err
	}
	dir := dockerstore.ImagesDir(driver)
	if err := errors.Join(syncTree(to, incomingName), to.MkdirAll(path.Dir(dir), 0o700)); err != nil {
		return err
	}
	return exchange(to, dir)
}

// exchange moves the new records into dir and removes the old ones.
func exchange(to *os.Root, dir string) error {
	if err := to.RemoveAll(replacedName); err != nil {
		return err
	}
	if err := to.Rename(dir, replacedName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := to.Rename(incomingName, dir); err != nil {
		return err
	}
	if err := errors.Join(syncFile(to, path.Dir(dir)), syncFile(to, ".")); err != nil {
		return err
	}
	return to.RemoveAll(replacedName)
}
