package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Names in the data-root, which dockerd does not look at.
const (
	incomingName = "overlayzfs-received"
	replacedName = "overlayzfs-replaced"
)

// Install puts carried records in the place of those that a data-root has of a
// driver. dockerd must not run. The new records are complete and durable before
// the old ones go. Where it is cut short between, there are none; it is finished
// by doing it again.
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
	place := dockerstore.ImagesDir(driver)
	if err := errors.Join(syncTree(to, incomingName), to.MkdirAll(path.Dir(place), 0o700)); err != nil {
		return err
	}
	return exchange(to, place)
}

// exchange puts what is coming in its place, and removes what was there.
func exchange(to *os.Root, place string) error {
	if err := to.RemoveAll(replacedName); err != nil {
		return err
	}
	if err := to.Rename(place, replacedName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := to.Rename(incomingName, place); err != nil {
		return err
	}
	if err := errors.Join(syncFile(to, path.Dir(place)), syncFile(to, ".")); err != nil {
		return err
	}
	return to.RemoveAll(replacedName)
}
