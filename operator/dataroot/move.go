package dataroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treecopy"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// MovingProperty is set on the dataset while a move into it is under way. Its value is the
// data-root's path.
const MovingProperty = "overlayzfs:moving-from"

// Suffix is what the directory of before has after its name.
const Suffix = ".before-overlayzfs"

// Move moves the content of a data-root to a dataset.
type Move struct {
	ZFS     *zfs.Handle
	Root    string // the data-root, without symlinks
	Dataset string // exists, and holds nothing or what an earlier run has copied
	// StateDir holds the directory on which the dataset is mounted meanwhile; /run by default.
	StateDir string
	// Copied is called with the number of bytes that were copied; nil for nobody.
	Copied func(n int64)

	before func(step string) error // tests end a move with it, as a kill would
}

// RequireStopped fails while dockerd runs on the data-root.
func RequireStopped(root string) error {
	release, err := Move{Root: root}.lockDockerd()
	if err != nil {
		return err
	}
	return release()
}

// CheckRoot returns why the content of a directory cannot be moved, or nil.
func CheckRoot(root string) error {
	if real, err := filepath.EvalSymlinks(root); err != nil || real != root {
		if err == nil {
			err = fault.New(fault.Unsupported, "data-root %s leads to %s by a symbolic link: name that directory, as \"data-root\" in daemon.json or with --root", root, real)
		}
		return err
	}
	on, err := mount.ListAt(root)
	if err != nil {
		return err
	}
	if len(on) > 0 {
		i := on[len(on)-1]
		if strings.HasPrefix(i.Mountpoint, "/") && strings.HasSuffix(root, i.Root) && i.Root != "/" {
			return fault.New(fault.Busy, "data-root %s is mounted on itself, which a dockerd that was killed leaves: `umount %s`", root, root)
		}
		return fault.New(fault.Exists, "data-root %s is the mount point of %s: unmount it there, mount it on another directory, also in /etc/fstab, run setup without --move-data-root, and copy the content yourself with `rsync -aHAXS --numeric-ids`", root, i.Source)
	}
	below, err := mount.ListBelow(root)
	if err != nil {
		return err
	}
	for _, i := range below {
		if i.Mountpoint != root {
			return fault.New(fault.Busy, "%s is mounted on %s: stop dockerd and all containers, and unmount it; what is mounted in the data-root is not moved with it", i.Source, i.Mountpoint)
		}
	}
	for _, driver := range []string{"btrfs/subvolumes", "devicemapper/devicemapper"} {
		if entries, err := os.ReadDir(filepath.Join(root, driver)); err == nil && len(entries) > 0 {
			return fault.New(fault.Unsupported, "data-root %s has layers in %s, of a driver that does not run on ZFS: bring images and containers to the plugin first (overlayzfs migrate), and remove that directory", root, driver)
		}
	}
	return nil
}

// lockDockerd fails while dockerd runs, and keeps it from starting until release is called.
func (m Move) lockDockerd() (release func() error, err error) {
	nothing := func() error { return nil }
	docker, err := dockerstore.Open(m.Root)
	if errors.Is(err, fault.NotFound) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err := docker.LockDockerd()
	err = errors.Join(err, docker.Close())
	if lock == nil {
		return nothing, err // dockerd runs, or never ran here
	}
	return lock.Close, err
}

// checkSpace compares what the content takes with what the dataset has.
func (m Move) checkSpace(ctx context.Context, src *os.File) error {
	all, err := treediff.Trees(ctx, src, nil)
	if err != nil {
		return err
	}
	d, err := m.ZFS.DatasetStats(m.Dataset)
	if err != nil {
		return err
	}
	if has := d.Available(); has < uint64(all.Allocated) {
		return fault.New(fault.NoSpace, "the content of %s takes %s, and dataset %s has room for %s", m.Root, units.BytesSize(float64(all.Allocated)), m.Dataset, units.BytesSize(float64(has)))
	}
	return nil
}

// Do moves the content, or goes on where an earlier run ended.
func (m Move) Do(ctx context.Context) error {
	if m.StateDir == "" {
		m.StateDir = "/run"
	}
	if m.before == nil {
		m.before = func(string) error { return nil }
	}
	release, err := m.lockDockerd()
	if err != nil {
		return err
	}
	err = m.run(ctx)
	return errors.Join(err, release())
}

func (m Move) run(ctx context.Context) error {
	isCopied, err := m.isCopied()
	if err != nil {
		return err
	}
	if !isCopied {
		if err := m.copy(ctx); err != nil {
			return err
		}
	}
	return m.exchange()
}

// isCopied reports whether an earlier run of this move has copied everything: the old content
// has its new name then.
func (m Move) isCopied() (bool, error) {
	info, err := os.Lstat(m.Root + Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.IsDir() {
		return false, err
	}
	d, err := m.ZFS.DatasetStats(m.Dataset)
	if err == nil && !m.isMarked(d) {
		err = fault.New(fault.Exists, "%s exists, where the old content is to be kept: move it away", m.Root+Suffix)
	}
	return true, err
}

func (m Move) isMarked(d zfs.Dataset) bool {
	from, there := d.Property(MovingProperty)
	return there && d.IsLocal(MovingProperty) && from.String() == m.Root
}

// copy fills the dataset and compares it with the data-root.
func (m Move) copy(ctx context.Context) error {
	if err := CheckRoot(m.Root); err != nil {
		return err
	}
	dir, err := m.stage()
	if err != nil {
		return err
	}
	dst, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := m.begin(ctx, dst); err != nil {
		return err
	}
	src, err := os.Open(m.Root)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := m.checkSpace(ctx, src); err != nil {
		return err
	}
	if err := m.before("copy"); err != nil {
		return err
	}
	if err := treecopy.Tree(ctx, dst, src, treecopy.Options{Copied: m.Copied}); err != nil {
		return err
	}
	if err := m.before("compare"); err != nil {
		return err
	}
	differ, err := treediff.Exact(ctx, src, dst, false)
	if err != nil {
		return err
	}
	if len(differ.Changes) > 0 {
		return fmt.Errorf("the copy of %s differs in %d names, such as %s: something writes there; stop it and run this command again", m.Root, len(differ.Changes), fault.Printable(differ.Changes[0].Path))
	}
	return fsat.SyncFileSystem(int(dst.Fd()))
}

// begin marks the dataset and empties it of what an earlier run has copied. It refuses a
// dataset with other content.
func (m Move) begin(ctx context.Context, dst *os.File) error {
	d, err := m.ZFS.DatasetStats(m.Dataset)
	if err != nil {
		return err
	}
	if !m.isMarked(d) {
		empty, err := fsat.IsEmpty(int(dst.Fd()))
		if err == nil && !empty {
			err = fault.New(fault.Exists, "dataset %s has content: name a dataset that does not exist", m.Dataset)
		}
		if err != nil {
			return err
		}
	}
	// No boot mounts a part of a copy.
	if err := m.ZFS.SetProperty(m.Dataset, zfs.Properties{MovingProperty: zfs.String(m.Root), "mountpoint": zfs.String("none")}); err != nil {
		return err
	}
	if err := m.before("empty"); err != nil {
		return err
	}
	return fsat.RemoveContents(ctx, int(dst.Fd()))
}

// stage mounts the dataset where the copy is made.
func (m Move) stage() (dir string, err error) {
	dir = m.stagingDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	on, err := mount.ListAt(dir)
	if err != nil {
		return "", err
	}
	for range on {
		if err := mount.Unmount(dir); err != nil {
			return "", err
		}
	}
	return dir, zfs.MountDataset(m.Dataset, dir)
}

func (m Move) stagingDir() string {
	return filepath.Join(m.StateDir, "overlayzfs-move-"+url.PathEscape(m.Dataset))
}
