package dataroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// barrier is the target of the symbolic link that stands for the data-root between two steps.
// It does not exist: dockerd does not start there, and so begins no empty data-root.
const barrier = "overlayzfs-setup-is-not-finished"

// emptySuffix is what the directory of the mount has after its name before it is in its place.
const emptySuffix = ".new-overlayzfs"

// exchange puts the dataset in the place of the old content, which nobody can change from the
// first of these steps on.
func (m Move) exchange() error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"unmount", m.unmount},
		{"keep the old content", m.keepOld},
		{"set the mount point", m.setMountpoint},
		{"make the mount point", m.makeMountpoint},
		{"mount", m.mount},
		{"end the move", m.end},
	}
	for _, s := range steps {
		if err := m.before(s.name); err != nil {
			return err
		}
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// unmount takes the dataset from where the copy was made.
func (m Move) unmount() error {
	dir := m.stagingDir()
	on, err := mount.ListAt(dir)
	if err != nil {
		return err
	}
	for range on {
		if err := mount.Unmount(dir); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepOld gives the old content its new name, and the barrier its place, in one step.
func (m Move) keepOld() error {
	old := m.Root + Suffix
	info, err := os.Lstat(old)
	switch {
	case err == nil && info.IsDir():
		return nil // an earlier run did
	case errors.Is(err, fs.ErrNotExist):
		err = os.Symlink(barrier, old)
	}
	if err != nil {
		return err
	}
	if err := m.before("exchange"); err != nil {
		return err
	}
	return swap(m.Root, old)
}

// swap exchanges two names of one directory.
func swap(a, b string) error {
	if err := fsat.Rename(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(a))
}

func (m Move) setMountpoint() error {
	return m.ZFS.SetProperty(m.Dataset, zfs.Properties{"mountpoint": zfs.String(m.Root), "canmount": zfs.String("on")})
}

// makeMountpoint puts an empty directory in the place of the barrier. From now on a boot mounts
// the dataset there.
func (m Move) makeMountpoint() error {
	empty := m.Root + emptySuffix
	info, err := os.Lstat(m.Root)
	switch {
	case err == nil && !info.IsDir():
		if err := os.Mkdir(empty, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = swap(m.Root, empty)
	case errors.Is(err, fs.ErrNotExist): // somebody removed the barrier
		err = os.Mkdir(m.Root, 0o711)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(empty); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (m Move) mount() error {
	on, err := mount.ListAt(m.Root)
	if err != nil || slices.ContainsFunc(on, func(i *mount.Info) bool { return i.Source == m.Dataset }) {
		return err
	}
	if entries, err := os.ReadDir(m.Root); err != nil || len(entries) > 0 {
		return errors.Join(err, fault.New(fault.Exists, "%s has content that came while a move was interrupted: the content of before is in %s, and its copy on dataset %s; move the new content away, and run this command again",
			m.Root, m.Root+Suffix, m.Dataset))
	}
	return zfs.MountDataset(m.Dataset, m.Root)
}

func (m Move) end() error { return m.ZFS.Inherit(m.Dataset, MovingProperty) }
