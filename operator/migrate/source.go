package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// source reads and deletes the layers of a driver.
type source interface {
	// openLayer opens a layer: its own content where the driver stacks layers, otherwise
	// its whole tree.
	openLayer(id string) (*tree, error)
	// isUpperOnly reports whether layers hold only their own content, as overlayfs wrote it.
	isUpperOnly() bool
	// deleteLayer deletes a layer without children. A missing layer is no error.
	deleteLayer(ctx context.Context, id string) error
	// deleteRest deletes the driver's directory when all layers are deleted.
	deleteRest(ctx context.Context) error
}

// tree is an open directory of a layer. Closing it releases the mount it is on.
type tree struct {
	*os.File
	release func() error // nil without a mount
}

// Close closes the directory and releases its mount.
func (t *tree) Close() error {
	err := t.File.Close()
	if t.release != nil {
		err = errors.Join(err, t.release())
	}
	return err
}

// dirLayouts are the drivers that keep each layer in a directory: where, below the
// data-root, and whether it is the layer's own content only.
var dirLayouts = map[string]struct {
	dir   func(id string) string
	upper bool
}{
	"overlay2": {func(id string) string { return filepath.Join("overlay2", id, "diff") }, true},
	"vfs":      {func(id string) string { return filepath.Join("vfs/dir", id) }, false},
	btrfsDir:   {func(id string) string { return filepath.Join(btrfsDir, "subvolumes", id) }, false},
}

// btrfsDir is the directory of moby's btrfs driver, which makes each layer a subvolume.
// The files in its directory quotas repeat limits that Docker's records have as well.
const btrfsDir = "btrfs"

// dirSource is the source of a driver in dirLayouts.
type dirSource struct {
	root   *dataRoot
	driver string
	// linked says that root is the driver's directory, to which a symlink in the data-root
	// leads. It belongs to the administrator, like a mount point.
	linked bool
}

// openDirSource opens the source. The driver's directory may be a symlink out of the
// data-root; Docker follows it, too.
func openDirSource(r *dataRoot, driver string) (dirSource, func() error, error) {
	linked, err := r.isSymlink(driver)
	if err != nil || !linked {
		return dirSource{root: r, driver: driver}, func() error { return nil }, err
	}
	root, err := openDataRoot(filepath.Join(r.Name(), driver))
	if err != nil {
		return dirSource{}, nil, err
	}
	return dirSource{root, driver, true}, root.Close, nil
}

// path returns the path of a layer below the root; of "", the directory of all layers.
func (s dirSource) path(id string) string {
	name := dirLayouts[s.driver].dir(id)
	if s.linked {
		name, _ = filepath.Rel(s.driver, name)
	}
	return name
}

func (s dirSource) isUpperOnly() bool { return dirLayouts[s.driver].upper }

func (s dirSource) openLayer(id string) (*tree, error) {
	f, err := s.root.Open(s.path(id))
	if err != nil {
		return nil, err
	}
	return &tree{File: f}, nil
}

func (s dirSource) deleteLayer(ctx context.Context, id string) error {
	name := s.path(id)
	if s.isUpperOnly() {
		name = filepath.Dir(name)
	}
	if s.driver == btrfsDir {
		return s.deleteSubvolume(ctx, name)
	}
	return s.removeDir(ctx, name)
}

// deleteSubvolume deletes a layer of btrfs in one operation. A layer shows its parents'
// files too; removing them one by one takes long and needs space on a full file system.
func (s dirSource) deleteSubvolume(ctx context.Context, name string) error {
	err := s.removeWith(ctx, name, fsat.RemoveSubvolume)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w: the subvolume or one in it is being sent, is the default subvolume or lies in a read-only one (`btrfs subvolume show %s`); resolve that, and run the command again", err, filepath.Join(s.root.Name(), name))
	}
	return err
}

// deleteAll deletes every layer, including those that Docker has not recorded.
func (s dirSource) deleteAll(ctx context.Context) error {
	dir := s.path("")
	if s.isUpperOnly() {
		dir = filepath.Dir(dir)
	}
	ids, err := s.root.listNames(dir)
	if err != nil {
		return err
	}
	return removeAll(ctx, ids, s.deleteLayer)
}

// deleteRest removes the driver's directory. A mount point, and where a symlink leads, stay
// and are only emptied, because they belong to the administrator.
func (s dirSource) deleteRest(ctx context.Context) error {
	if s.driver == btrfsDir {
		if err := s.deleteAll(ctx); err != nil {
			return err
		}
	}
	name := s.driver
	if s.linked {
		name = "."
	} else if err := s.removeDir(ctx, name); !errors.Is(err, unix.EXDEV) {
		return err
	}
	dir, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(fsat.RemoveContents(ctx, int(dir.Fd())), fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

// removeDir removes a directory tree of the data-root and stops at mounts.
func (s dirSource) removeDir(ctx context.Context, name string) error {
	return s.removeWith(ctx, name, fsat.RemoveAll)
}

func (s dirSource) removeWith(ctx context.Context, name string, remove func(ctx context.Context, dirfd int, name string) error) error {
	dir, err := s.root.Open(filepath.Dir(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return remove(ctx, int(dir.Fd()), filepath.Base(name))
}

// zfsSource is the source of moby's zfs driver: each layer is a dataset, a clone of its
// parent.
type zfsSource struct {
	root    *dataRoot
	zfs     *zfs.Handle
	dataset string
	mounts  *datasetMounts
}

func (s zfsSource) isUpperOnly() bool { return false }

func (s zfsSource) openLayer(id string) (*tree, error) {
	name, err := s.datasetName(id)
	if err != nil {
		return nil, err
	}
	return s.mounts.openDir(name, ".")
}

// datasetName returns a layer's dataset. It refuses an ID that the driver does not give,
// because other datasets below the same parent belong to somebody else.
func (s zfsSource) datasetName(id string) (string, error) {
	if !layerName.MatchString(id) {
		return "", fault.New(fault.UnsafeInput, "%.100q is not a layer name of the zfs driver", id)
	}
	return s.dataset + "/" + id, nil
}

// deleteLayer destroys a layer's dataset. The snapshot it was cloned from is destroyed
// with it, because the driver has marked that for deferred destruction.
func (s zfsSource) deleteLayer(ctx context.Context, id string) error {
	name, err := s.datasetName(id)
	if err != nil {
		return err
	}
	err = s.zfs.Destroy(name)
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		return nil
	case errors.Is(err, zfs.ErrBusy):
		return fault.NewWithRemedy(fault.Busy, "%w: snapshots of your own on it, or clones of them, keep it (`zfs list -t all -r %s`); destroy those and run the command again", err, name)
	}
	return errors.Join(err, ctx.Err())
}

func (s zfsSource) deleteRest(ctx context.Context) error {
	return dirSource{root: s.root, driver: "zfs"}.removeDir(ctx, "zfs")
}

// storeSource is the source of a migration from the plugin: its store. It deletes nothing; the
// administrator decides what happens to the store afterwards.
type storeSource struct {
	root *os.File
	// dataset returns the store's dataset. Limited layers have datasets below it.
	dataset func() (string, error)
	mounts  *datasetMounts
}

func (s storeSource) isUpperOnly() bool { return true }

func (s storeSource) openLayer(id string) (*tree, error) {
	dir := fmt.Sprintf("/proc/self/fd/%d/%s/", s.root.Fd(), id)
	info, err := os.Lstat(dir + "diff")
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == os.ModeSymlink {
		return s.openLimited(dir)
	}
	f, err := os.Open(dir + "diff")
	if err != nil {
		return nil, err
	}
	return &tree{File: f}, nil
}

// openLimited opens a limited layer, whose files lie on their own dataset.
func (s storeSource) openLimited(dir string) (*tree, error) {
	short, err := os.ReadFile(dir + "link")
	if err != nil {
		return nil, err
	}
	dataset, err := s.dataset()
	if err != nil {
		return nil, err
	}
	return s.mounts.openDir(dataset+"/"+string(short), "diff")
}

func (s storeSource) deleteLayer(context.Context, string) error { return nil }

func (s storeSource) deleteRest(context.Context) error { return nil }

// openStoreSource opens the plugin's store as the source of a migration.
func (j *Job) openStoreSource(r *dataRoot) (s storeSource, err error) {
	s.mounts = &datasetMounts{}
	if dataset := j.sourceDataset(); dataset != "" {
		s.dataset = func() (string, error) { return dataset, nil }
		s.root, err = s.mounts.mountWhenIdle(dataset)
		return s, err
	}
	home := filepath.Join(r.Name(), j.Layers)
	s.dataset = func() (string, error) { return zfs.DatasetOf(home) }
	s.root, err = os.Open(home)
	return s, err
}

// openSource opens the source of the job's layers.
func (j *Job) openSource(r *dataRoot) (source, func() error, error) {
	nothing := func() error { return nil }
	if j.isFromStore() {
		s, err := j.openStoreSource(r)
		return s, s.root.Close, err
	}
	if _, ok := dirLayouts[j.From]; ok {
		return openDirSource(r, j.From)
	}
	if j.From != "zfs" {
		return nil, nothing, fault.New(fault.Unsupported, "cannot migrate from the driver %s (only from overlay2, zfs, vfs and btrfs)", j.From)
	}
	z, err := zfs.Open()
	if err != nil {
		return nil, nothing, err
	}
	return zfsSource{r, z, j.ZFSDataset, &datasetMounts{}}, z.Close, nil
}
