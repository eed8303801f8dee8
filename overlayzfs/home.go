package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/retry"
	"github.com/overlayzfs/overlayzfs/whiteout"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// preparedHome is a home on ZFS that this process has locked.
type preparedHome struct {
	home         home
	dataset      string
	lock         *os.File // the home itself, locked
	managesMount bool     // the driver mounts and unmounts the dataset
	isNewMount   bool     // the driver has just mounted it
}

// prepareHome makes path a store on ZFS. It changes nothing there before it knows a store,
// or an empty directory. When it fails, a mount that it made is undone.
func prepareHome(ctx context.Context, path string, o Options) (*preparedHome, error) {
	if !filepath.IsAbs(path) {
		return nil, fault.New(fault.Invalid, "home %q is not an absolute path", path)
	}
	if err := checkMountable(path, o); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o710); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if err := checkMountable(real, o); err != nil {
		return nil, err
	}
	p := &preparedHome{home: home(real), managesMount: o.Dataset != ""}
	if p.managesMount {
		if err := checkPool(o.Dataset); err != nil {
			return nil, err
		}
		if p.isNewMount, err = mountHome(real, o.Dataset); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, p.unmountIfNew())
	}
	return p, nil
}

// checkMountable refuses a home whose path cannot be an option of an overlay mount. Mounts
// that others make have absolute paths; the driver's own do not contain the home's.
func checkMountable(path string, o Options) error {
	if o.Door == "" || !mount.IsUnsafePath(path) {
		return nil
	}
	return fault.New(fault.Invalid, "home %q has a ':', a ',' or a backslash in its path, which no overlay can be mounted from; use another directory", path)
}

func (p *preparedHome) unmountIfNew() error {
	if !p.isNewMount {
		return nil
	}
	return mount.Unmount(string(p.home))
}

func (p *preparedHome) prepare(ctx context.Context, o Options) (err error) {
	if p.dataset, err = datasetOfHome(string(p.home)); err != nil {
		return err
	}
	if err := checkPool(p.dataset); err != nil {
		return err
	}
	if p.lock, err = lockHome(ctx, p.home); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.lock.Close()
		}
	}()
	if err := checkPrivateDir(int(p.lock.Fd())); err != nil {
		return err
	}
	known, err := checkStore(p.home)
	if err != nil {
		return err
	}
	if err := p.probeOverlay(ctx, known); err != nil {
		return fmt.Errorf("dataset %s: %w", p.dataset, err)
	}
	return makeStoreDirs(p.home, o)
}

// probeOverlay tries what overlayfs needs. A known store has passed before, so a probe that
// fails for lack of room is only logged: layers must remain removable.
func (p *preparedHome) probeOverlay(ctx context.Context, known bool) error {
	if !known {
		return whiteout.Probe(ctx, string(p.home))
	}
	err := whiteout.Probe(ctx, p.home.privatePath(newDir))
	if class := fault.ClassOf(err); class == fault.NoSpace || class == fault.LimitReached {
		logrus.WithError(err).WithField("dataset", p.dataset).Warn("no room to test overlayfs again: the store passed the test before")
		return nil
	}
	return err
}

// mountHome mounts the dataset on dir unless it is mounted there already.
func mountHome(dir, dataset string) (fresh bool, err error) {
	infos, err := mount.ListAt(dir)
	if err != nil {
		return false, err
	}
	if len(infos) > 0 {
		top := infos[len(infos)-1]
		if top.FSType == "zfs" && top.Source == dataset {
			return false, nil
		}
		return false, fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on the home %q, where dataset %q belongs; unmount it, or set overlayzfs.dataset to it", top.Source, top.FSType, dir, dataset)
	}
	if err := requireEmpty(dir, dataset); err != nil {
		return false, err
	}
	return true, zfs.MountDataset(dataset, dir)
}

// requireEmpty refuses a directory with entries, which a mount would hide.
func requireEmpty(dir, dataset string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fault.New(fault.Exists, "home %q holds %d entries such as %q, which a mount of dataset %q would hide; move them away, or remove the option overlayzfs.dataset", dir, len(entries), entries[0].Name(), dataset)
	}
	return nil
}

func datasetOfHome(dir string) (string, error) {
	onZFS, err := zfs.IsZFS(dir)
	if err != nil {
		return "", err
	}
	if !onZFS {
		return "", fault.New(fault.Unsupported, "home %q does not lie on ZFS; create a dataset (`zfs create -o mountpoint=legacy POOL/NAME`) and set overlayzfs.dataset=POOL/NAME, or put Docker's data-root on ZFS", dir)
	}
	return zfs.DatasetOf(dir)
}

// checkStore refuses a directory that holds anything but a store of this format. known
// reports whether it holds a store of ours already. A directory with short links is a
// store of overlay2's and becomes ours.
func checkStore(h home) (known bool, err error) {
	for _, mark := range []string{h.privatePath(), h.path(linkDir)} { // cheaper than reading thousands of layers' names
		if _, err := os.Lstat(mark); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return false, err
			}
			return hasKnownFormat(h)
		}
	}
	names, err := readStoreNames(string(h))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, privateDir) { // a probe left it behind
			return false, fault.New(fault.Exists, "%s is neither empty nor a store of layers: it holds %q; give the driver an empty dataset", h, name)
		}
	}
	return false, nil
}

// makeStoreDirs makes the store's private directories. It makes only the changes that are
// needed, because a full dataset takes none.
func makeStoreDirs(h home, o Options) error {
	if err := secureHome(h, o); err != nil {
		return err
	}
	dirs := []string{h.path(linkDir), h.privatePath()}
	for _, name := range privateDirs {
		dirs = append(dirs, h.privatePath(name))
	}
	for _, dir := range dirs {
		if err := makePrivateDir(dir); err != nil {
			return err
		}
	}
	return writeFormat(h)
}

// makePrivateDir makes a missing directory. It refuses a link to a directory.
func makePrivateDir(path string) error {
	err := os.Mkdir(path, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(path)
	if err == nil && !fi.IsDir() {
		err = malformedError(path, "is not a directory")
	}
	return err
}

// secureHome closes the home to all users but root and the containers' root.
func secureHome(h home, o Options) error {
	const mode = 0o710
	_, gid := o.IDs.RootPair()
	uid := os.Getuid()
	right, err := hasAttributes(string(h), mode, uid, gid)
	if err != nil || right {
		return err
	}
	if err := os.Chown(string(h), uid, gid); err != nil {
		return err
	}
	return os.Chmod(string(h), mode)
}

// lockTimeout is how long a locked home is tried again. A command that looks at the store
// holds the lock for an instant, and a process that ends for a little longer.
const lockTimeout = time.Second

var lockPauses = retry.Pauses{First: 5 * time.Millisecond, Most: 100 * time.Millisecond}

// lockHome makes sure that one process at a time opens the store.
func lockHome(ctx context.Context, h home) (*os.File, error) {
	f, err := os.Open(string(h))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	isBusy := func(err error) bool { return errors.Is(err, fault.Busy) }
	if err := lockPauses.While(ctx, isBusy, func() error { return lockFile(f, fsat.TryLock) }); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockFile takes a lock that ends with the file or the process.
func lockFile(f *os.File, try func(fd int) error) error {
	err := try(int(f.Fd()))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fault.New(fault.Busy, "another overlayzfs process uses this home (%s is locked)", f.Name())
	}
	if err != nil {
		return fmt.Errorf("lock %q: %w", f.Name(), err)
	}
	return nil
}

// hasAttributes reports whether path has that mode and owner.
func hasAttributes(path string, mode uint32, uid, gid int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false, fmt.Errorf("stat %q: %w", path, err)
	}
	return st.Mode&0o7777 == mode && int(st.Uid) == uid && int(st.Gid) == gid, nil
}

// checkPool returns a PoolUnavailable error for a suspended pool. A process that asks such a
// pool for data that is not in memory hangs, and cannot even be killed.
func checkPool(dataset string) error {
	pool := zfs.PoolOf(dataset)
	if state, err := zfs.PoolState(pool); err == nil && state == zfs.PoolSuspended {
		return fault.New(fault.PoolUnavailable, "pool %s is suspended: it waits for its devices", pool)
	}
	return nil
}

// snapshotDir is the directory of a dataset's snapshots. It is listed in the dataset's root
// where the property snapdir is visible.
const snapshotDir = ".zfs"

// readStoreNames returns the names in a directory that may be a dataset's root.
func readStoreNames(dir string) ([]string, error) {
	names, err := readNames(dir)
	return slices.DeleteFunc(names, func(name string) bool { return name == snapshotDir }), err
}

// readNames returns the names in a directory, in no order.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
