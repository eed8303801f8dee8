package overlayzfs

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// What lies in a store is reached by its path, as root. A dataset that was not made
// here can have a symbolic link where a directory of ours should be, which would
// lead that out of the store. So the store's own directory is looked at, by the
// names in it and past no link, before anything in it is used.

// ownDirs are the directories that the driver makes in its own one.
var ownDirs = []string{newName, applyName, buildingName, mutableName, trashName, refsName, limitsName}

// ownTypes are the types of what has a meaning in the store's own directory. What
// else is there is a file or a directory, of which nothing is read.
var ownTypes = map[string]uint32{
	newName: unix.S_IFDIR, applyName: unix.S_IFDIR, buildingName: unix.S_IFDIR, mutableName: unix.S_IFDIR, trashName: unix.S_IFDIR,
	refsName: unix.S_IFDIR, limitsName: unix.S_IFDIR, carriedName: unix.S_IFDIR, recordsName: unix.S_IFDIR,
	formatName: unix.S_IFREG, bootName: unix.S_IFREG, engineName: unix.S_IFREG, storeName: unix.S_IFREG, doorName: unix.S_IFREG,
}

// maxOwnFile bounds a file of ours, which is read as a whole.
const maxOwnFile = 1 << 20

// requireOwn makes sure that the store in the open directory root has no link, and
// nothing of another type, where something of the driver's own is.
func requireOwn(root int) error {
	if err := requireType(root, "", linkDir, unix.S_IFDIR); err != nil {
		return err
	}
	return eachBelow(root, "", ownDir, func(own int, name string) error {
		return requireType(own, ownDir, name, ownTypes[strings.TrimSuffix(name, newSuffix)])
	})
}

// eachBelow runs check on every name in a directory, which may be missing and must
// be none by a link.
func eachBelow(dirfd int, where, name string, check func(dirfd int, name string) error) error {
	if err := requireType(dirfd, where, name, unix.S_IFDIR); err != nil {
		return err
	}
	fd, err := fsat.OpenDir(dirfd, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(fd)
	entries, err := fsat.ReadDir(fd)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := check(fd, entry.Name); err != nil {
			return err
		}
	}
	return nil
}

// requireType makes sure that a name that is there is of the type, or a file or
// directory where that is 0. The type is asked of the file: what a directory says
// of it can have been made up.
func requireType(dirfd int, where, name string, want uint32) error {
	st, err := fsat.Stat(dirfd, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	is := st.Mode & unix.S_IFMT
	switch {
	case want == 0 && is != unix.S_IFREG && is != unix.S_IFDIR, want != 0 && is != want:
		return misshapen(path.Join(where, name), "is a "+typeText(is))
	case is == unix.S_IFREG && st.Size > maxOwnFile:
		return misshapen(path.Join(where, name), "is too long")
	}
	return nil
}

func misshapen(name, why string) error {
	return fault.New(fault.UnsafeInput, "%q in the store %s, as no overlayzfs makes it: nothing on this dataset is used", name, why)
}

func typeText(mode uint32) string {
	switch mode {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	}
	return "special file"
}

// linked is the layer that a short link's target leads to, if it leads to one.
func linked(target string) (id string, ok bool) {
	below, ok := strings.CutPrefix(target, "../")
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(below, "/"+diffName)
	return id, ok && checkID("layer", id) == nil
}
