package overlayzfs

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// A store is reached by paths, as root. A dataset that another host made can have a
// symbolic link in the place of a private directory, which would lead out of the store. So
// the driver checks its private directory entry by entry, and follows no link, before it
// uses any of it.

// privateDirs are the directories that the driver makes in its private directory.
var privateDirs = []string{newDir, applyDir, buildingDir, mutableDir, trashDir, refsDir, limitsDir}

// privateTypes are the file types of the private entries that have a meaning. Any other
// entry may be a file or a directory, and is never read.
var privateTypes = map[string]uint32{
	newDir: unix.S_IFDIR, applyDir: unix.S_IFDIR, buildingDir: unix.S_IFDIR, mutableDir: unix.S_IFDIR, trashDir: unix.S_IFDIR,
	refsDir: unix.S_IFDIR, limitsDir: unix.S_IFDIR, carriedDirName: unix.S_IFDIR, recordsDir: unix.S_IFDIR,
	formatFile: unix.S_IFREG, bootIDFile: unix.S_IFREG, engineFile: unix.S_IFREG, storeNameFile: unix.S_IFREG, doorFile: unix.S_IFREG,
}

// maxPrivateFile is the largest size of a private file, which is read as a whole.
const maxPrivateFile = 1 << 20

// checkPrivateDir refuses a store whose private directory has a link or another wrong file
// type. root is the open home.
func checkPrivateDir(root int) error {
	if err := requireType(root, "", linkDir, unix.S_IFDIR); err != nil {
		return err
	}
	return checkEntries(root, "", privateDir, func(own int, name string) error {
		return requireType(own, privateDir, name, privateTypes[strings.TrimSuffix(name, newSuffix)])
	})
}

// checkEntries runs check on every entry of a directory. The directory may be missing. It
// must not be a link.
func checkEntries(dirfd int, where, name string, check func(dirfd int, name string) error) error {
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

// requireType refuses an entry of another type than want. With want 0 it may be a file or a
// directory. A missing entry passes. The type comes from the file itself, because the type
// in a directory entry can be forged.
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
		return malformedError(path.Join(where, name), "is a "+typeName(is))
	case is == unix.S_IFREG && st.Size > maxPrivateFile:
		return malformedError(path.Join(where, name), "is too long")
	}
	return nil
}

func malformedError(name, why string) error {
	return fault.New(fault.UnsafeInput, "the store is not used: %q in it %s, which overlayzfs never makes", name, why)
}

func typeName(mode uint32) string {
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

// CheckReceived makes sure that a store from another host has the structure that
// overlayzfs makes: no link leads out of it, and no private entry has a wrong type. It does
// not look at the content of layers, which belongs to images and is never followed. Call it
// before any other use of the store.
func CheckReceived(dataset string) error {
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return err
	}
	return errors.Join(checkReceived(int(root.Fd())), root.Close())
}

func checkReceived(root int) error {
	if err := checkPrivateDir(root); err != nil {
		return err
	}
	for _, check := range []func(int) error{checkNoDoor, checkPrivateEntries, checkShortLinks} {
		if err := check(root); err != nil {
			return err
		}
	}
	return checkEntries(root, "", ".", func(_ int, name string) error {
		if name == linkDir || checkID("layer", name) != nil {
			return requireType(root, "", name, 0)
		}
		return checkLayer(root, "", name)
	})
}

// checkNoDoor refuses a store of containerd's, because its records do not travel.
func checkNoDoor(root int) error {
	return checkEntries(root, "", privateDir, func(_ int, name string) error {
		if name == doorFile || name == recordsDir {
			return malformedError(path.Join(privateDir, name), "belongs to another door than Docker's")
		}
		return nil
	})
}

// checkPrivateEntries looks into the private directories. Recovery deletes the layers in
// them and reads some of their files.
func checkPrivateEntries(root int) error {
	return checkEntries(root, "", privateDir, func(own int, dir string) error {
		where := path.Join(privateDir, dir)
		switch dir {
		case newDir, trashDir:
			return checkEntries(own, privateDir, dir, func(fd int, name string) error { return checkDiscarded(fd, where, name) })
		case applyDir, buildingDir, mutableDir, refsDir, limitsDir:
			return checkEntries(own, privateDir, dir, func(fd int, name string) error { return requireType(fd, where, name, 0) })
		}
		return nil
	})
}

// checkDiscarded checks a directory that will be deleted: a layer, or what a probe or a
// measurement had there when the snapshot was taken. Only its short link's name is read.
func checkDiscarded(dirfd int, where, name string) error {
	return checkEntries(dirfd, where, name, func(dir int, below string) error {
		if below != linkName {
			return nil
		}
		return requireType(dir, path.Join(where, name), below, unix.S_IFREG)
	})
}

// checkShortLinks makes sure that each short link leads to a layer of this store.
func checkShortLinks(root int) error {
	return checkEntries(root, "", linkDir, func(fd int, name string) error {
		target, err := fsat.Readlink(fd, name)
		if errors.Is(err, unix.EINVAL) { // not a link: a stray file, which the driver passes over
			return requireType(fd, linkDir, name, 0)
		}
		if err != nil {
			return err
		}
		if _, ok := parseShortLink(target); !ok {
			return malformedError(path.Join(linkDir, name), "does not lead to a layer")
		}
		return nil
	})
}

// layerTypes are the file types of the entries of a layer's directory.
var layerTypes = map[string]uint32{
	diffName: unix.S_IFDIR, workName: unix.S_IFDIR, mergedName: unix.S_IFDIR, quota.UpperName: unix.S_IFDIR,
	linkName: unix.S_IFREG, lowerName: unix.S_IFREG, committedName: unix.S_IFREG,
}

// checkLayer checks a layer's directory, and not its content.
func checkLayer(dirfd int, where, id string) error {
	where = path.Join(where, id)
	return checkEntries(dirfd, path.Dir(where), id, func(layer int, name string) error {
		if name == diffName || name == workName {
			limited, err := isUpperLink(layer, name)
			if err != nil || limited {
				return err
			}
		}
		if err := requireType(layer, where, name, layerTypes[name]); err != nil {
			return err
		}
		switch name {
		case quota.UpperName:
			return checkEntries(layer, where, name, func(int, string) error {
				return malformedError(path.Join(where, name), "is not empty")
			})
		case workName:
			return checkWork(layer, where)
		}
		return nil
	})
}

// checkWork checks overlayfs's own directories as far as the driver deletes marks of the
// kernel in them.
func checkWork(layer int, where string) error {
	where = path.Join(where, workName)
	return checkEntries(layer, path.Dir(where), workName, func(work int, name string) error {
		if err := requireType(work, where, name, unix.S_IFDIR); err != nil {
			return err
		}
		return checkEntries(work, where, name, func(dir int, below string) error {
			if below != "incompat" {
				return nil
			}
			return requireType(dir, path.Join(where, name), below, unix.S_IFDIR)
		})
	})
}

// isUpperLink reports whether an entry is the link of a limited layer to the layer's dataset.
// The stream did not carry that dataset.
func isUpperLink(layer int, name string) (bool, error) {
	target, err := fsat.Readlink(layer, name)
	if errors.Is(err, unix.EINVAL) { // not a link
		return false, nil
	}
	return target == path.Join(quota.UpperName, name), err
}
