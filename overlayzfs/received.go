package overlayzfs

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// CheckReceived makes sure that a store that came from somebody else has the shape
// of one that overlayzfs made: no link leads out of it, and nothing of ours is of
// another type than it should be. What is in the layers is not looked at: it is
// the images', and is never followed. Ask before anything else is done with it.
func CheckReceived(dataset string) error {
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return err
	}
	return errors.Join(checkReceived(int(root.Fd())), root.Close())
}

func checkReceived(root int) error {
	if err := requireOwn(root); err != nil {
		return err
	}
	for _, check := range []func(int) error{checkNoDoor, checkOwnBelow, checkShorts} {
		if err := check(root); err != nil {
			return err
		}
	}
	return eachBelow(root, "", ".", func(_ int, name string) error {
		if name == linkDir || checkID("layer", name) != nil {
			return requireType(root, "", name, 0)
		}
		return checkLayer(root, "", name)
	})
}

// checkNoDoor refuses a store of containerd's: its records do not travel.
func checkNoDoor(root int) error {
	return eachBelow(root, "", ownDir, func(_ int, name string) error {
		if name == doorName || name == recordsName {
			return misshapen(path.Join(ownDir, name), "makes it one that Docker's storage driver does not use")
		}
		return nil
	})
}

// checkOwnBelow looks into the driver's directories. Those with layers, half made
// or half removed, are deleted with what their files say.
func checkOwnBelow(root int) error {
	return eachBelow(root, "", ownDir, func(own int, dir string) error {
		where := path.Join(ownDir, dir)
		switch dir {
		case newName, trashName:
			return eachBelow(own, ownDir, dir, func(fd int, name string) error { return checkDiscarded(fd, where, name) })
		case applyName, buildingName, mutableName, refsName, limitsName:
			return eachBelow(own, ownDir, dir, func(fd int, name string) error { return requireType(fd, where, name, 0) })
		}
		return nil
	})
}

// checkDiscarded looks at a directory that is to be deleted, past no link: a layer,
// or what a probe or measurement at work had there when the snapshot was taken. Of
// all that is in it only the short link's name is read.
func checkDiscarded(dirfd int, where, name string) error {
	return eachBelow(dirfd, where, name, func(dir int, below string) error {
		if below != linkName {
			return nil
		}
		return requireType(dir, path.Join(where, name), below, unix.S_IFREG)
	})
}

// checkShorts looks at the short links: each leads to a layer of this store.
func checkShorts(root int) error {
	return eachBelow(root, "", linkDir, func(fd int, name string) error {
		if err := requireType(fd, linkDir, name, unix.S_IFLNK); err != nil {
			return err
		}
		target, err := fsat.Readlink(fd, name)
		if err != nil {
			return err
		}
		if _, ok := linked(target); !ok {
			return misshapen(path.Join(linkDir, name), "does not lead to a layer")
		}
		return nil
	})
}

// layerTypes are the types of what a layer's directory has.
var layerTypes = map[string]uint32{
	diffName: unix.S_IFDIR, workName: unix.S_IFDIR, mergedName: unix.S_IFDIR, quota.UpperName: unix.S_IFDIR,
	linkName: unix.S_IFREG, lowerName: unix.S_IFREG, committedName: unix.S_IFREG,
}

// checkLayer looks at a layer's directory, and not into its content.
func checkLayer(dirfd int, where, id string) error {
	where = path.Join(where, id)
	return eachBelow(dirfd, path.Dir(where), id, func(layer int, name string) error {
		if name == diffName || name == workName {
			limited, err := leadsToUpper(layer, name)
			if err != nil || limited {
				return err
			}
		}
		if err := requireType(layer, where, name, layerTypes[name]); err != nil {
			return err
		}
		switch name {
		case quota.UpperName:
			return eachBelow(layer, where, name, func(int, string) error {
				return misshapen(path.Join(where, name), "is not empty")
			})
		case workName:
			return checkWork(layer, where)
		}
		return nil
	})
}

// checkWork looks at overlayfs's own directories, as far as the driver takes marks
// of the kernel's away in them.
func checkWork(layer int, where string) error {
	where = path.Join(where, workName)
	return eachBelow(layer, path.Dir(where), workName, func(work int, name string) error {
		if err := requireType(work, where, name, unix.S_IFDIR); err != nil {
			return err
		}
		return eachBelow(work, where, name, func(dir int, below string) error {
			if below != "incompat" {
				return nil
			}
			return requireType(dir, path.Join(where, name), below, unix.S_IFDIR)
		})
	})
}

// leadsToUpper reports whether a name is the link that a limited layer has: to its
// own dataset, which did not come with this one.
func leadsToUpper(layer int, name string) (bool, error) {
	target, err := fsat.Readlink(layer, name)
	if errors.Is(err, unix.EINVAL) { // no link
		return false, nil
	}
	return target == path.Join(quota.UpperName, name), err
}
