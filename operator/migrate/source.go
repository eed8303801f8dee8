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

// source is where another driver keeps its layers.
type source interface {
	// openLayer opens a layer: its own content where the driver stacks layers, else
	// all that it shows.
	openLayer(id string) (*tree, error)
	// isUpperOnly: layers have their own content only, as overlayfs wrote it.
	isUpperOnly() bool
	// deleteLayer deletes a layer that nothing stands on any more. That it is gone
	// already is no error.
	deleteLayer(ctx context.Context, id string) error
	// deleteRest deletes what is left when all layers are gone.
	deleteRest(ctx context.Context) error
}

// tree is a directory of a layer, and what keeps it reachable.
type tree struct {
	*os.File
	release func() error // nil where nothing does
}

// Close ends both.
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

// btrfsDir is where moby's btrfs driver has its layers, each a subvolume. The files in
// quotas beside them repeat the limits that Docker has recorded of containers.
const btrfsDir = "btrfs"

// dirSource is a driver of directories.
type dirSource struct {
	root   *dataRoot
	driver string
}

func (s dirSource) isUpperOnly() bool { return dirLayouts[s.driver].upper }

func (s dirSource) openLayer(id string) (*tree, error) {
	f, err := s.root.Open(dirLayouts[s.driver].dir(id))
	if err != nil {
		return nil, err
	}
	return &tree{File: f}, nil
}

func (s dirSource) deleteLayer(ctx context.Context, id string) error {
	name := dirLayouts[s.driver].dir(id)
	if s.isUpperOnly() {
		name = filepath.Dir(name)
	}
	if s.driver == btrfsDir {
		return s.deleteSubvolume(ctx, name)
	}
	return s.removeDir(ctx, name)
}

// deleteSubvolume deletes a layer at once: it shows all that is below it, too, and
// removing that file by file would take long, and room on a file system that is full.
func (s dirSource) deleteSubvolume(ctx context.Context, name string) error {
	err := s.removeWith(ctx, name, fsat.RemoveSubvolume)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w: it, or a subvolume in it, is being sent, is the default one, or lies in a read-only one (`btrfs subvolume show %s`): end that, and run the command again", err, filepath.Join(s.root.Name(), name))
	}
	return err
}

// deleteAll deletes every layer, those too that Docker has not recorded.
func (s dirSource) deleteAll(ctx context.Context) error {
	ids, err := s.root.listNames(dirLayouts[s.driver].dir(""))
	if err != nil {
		return err
	}
	return removeAll(ctx, ids, s.deleteLayer)
}

// deleteRest removes the driver's directory. Of a mount point only what is in it: that is
// the administrator's.
func (s dirSource) deleteRest(ctx context.Context) error {
	if s.driver == btrfsDir {
		if err := s.deleteAll(ctx); err != nil {
			return err
		}
	}
	err := s.removeDir(ctx, s.driver)
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	dir, err := s.root.Open(s.driver)
	if err != nil {
		return err
	}
	return errors.Join(fsat.RemoveContents(ctx, int(dir.Fd())), fsat.SyncFileSystem(int(dir.Fd())), dir.Close())
}

// removeDir removes a directory of the data-root and all in it, across no mount.
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

// zfsSource is moby's zfs driver: each layer a dataset, cloned from the one below.
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

// datasetName is a layer's dataset. Others below the same one are somebody else's, whatever a
// record says.
func (s zfsSource) datasetName(id string) (string, error) {
	if !layerName.MatchString(id) {
		return "", fault.New(fault.UnsafeInput, "%.100q is no name that the driver zfs gives to layers", id)
	}
	return s.dataset + "/" + id, nil
}

// deleteLayer destroys a layer's dataset. The snapshot it was cloned from goes with
// it: the driver has marked that for deletion.
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
	return dirSource{s.root, "zfs"}.removeDir(ctx, "zfs")
}

// storeSource is a store, for the way back. What is to become of it when its layers
// were copied is the administrator's to say.
type storeSource struct {
	root *os.File
	// dataset is that of the store, below which those of limited layers are.
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

// openLimited opens a limited layer, whose files lie on a dataset of its own.
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

// openStoreSource opens the store on the way back.
func (j *Job) openStoreSource(r *dataRoot) (s storeSource, err error) {
	s.mounts = &datasetMounts{}
	if j.Dataset != "" {
		s.dataset = func() (string, error) { return j.Dataset, nil }
		s.root, err = zfs.OpenDatasetReadOnly(j.Dataset)
		return s, err
	}
	home := filepath.Join(r.Name(), j.Layers)
	s.dataset = func() (string, error) { return zfs.DatasetOf(home) }
	s.root, err = os.Open(home)
	return s, err
}

// openSource opens the layers of a driver.
func (j *Job) openSource(r *dataRoot) (source, func() error, error) {
	nothing := func() error { return nil }
	if j.isBack() {
		s, err := j.openStoreSource(r)
		return s, s.root.Close, err
	}
	if _, ok := dirLayouts[j.From]; ok {
		return dirSource{r, j.From}, nothing, nil
	}
	if j.From != "zfs" {
		return nil, nothing, fault.New(fault.Unsupported, "there is no way from the driver %s: known are overlay2, zfs, vfs and btrfs", j.From)
	}
	z, err := zfs.Open()
	if err != nil {
		return nil, nothing, err
	}
	return zfsSource{r, z, j.ZFSDataset, &datasetMounts{}}, z.Close, nil
}
