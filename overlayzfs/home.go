package overlayzfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/whiteout"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// formatVersion is the version of what lies below .overlayzfs; what lies
// beside it is overlay2's and has no version.
const formatVersion = 1

type format struct {
	Version int `json:"version"`
}

// place is a home that was prepared: a store on ZFS, claimed by this process.
type place struct {
	home    home
	dataset string
	lock    *os.File // the home itself, locked
	mounted bool     // the driver is in charge of the dataset's mount
	fresh   bool     // which was not there before
}

// prepareHome makes path a store on ZFS. Nothing that is there is changed
// before it is known to be a store or an empty directory that can become one,
// and when it fails nothing stays mounted that was not before.
func prepareHome(ctx context.Context, path string, o Options) (*place, error) {
	if !filepath.IsAbs(path) {
		return nil, fault.New(fault.Invalid, "home %q is not an absolute path", path)
	}
	if err := os.MkdirAll(path, 0o710); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	p := &place{home: home(real), mounted: o.Dataset != ""}
	if p.mounted {
		if err := answers(o.Dataset); err != nil {
			return nil, err
		}
		if p.fresh, err = mountHome(real, o.Dataset); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, p.undo())
	}
	return p, nil
}

func (p *place) undo() error {
	if !p.fresh {
		return nil
	}
	return mount.Unmount(string(p.home))
}

func (p *place) prepare(ctx context.Context, o Options) (err error) {
	if p.dataset, err = datasetOfHome(string(p.home)); err != nil {
		return err
	}
	if err := answers(p.dataset); err != nil {
		return err
	}
	if p.lock, err = claim(p.home); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.lock.Close()
		}
	}()
	if err := requireOwn(int(p.lock.Fd())); err != nil {
		return err
	}
	known, err := checkStore(p.home)
	if err != nil {
		return err
	}
	if err := p.probe(ctx, known); err != nil {
		return fmt.Errorf("dataset %s: %w", p.dataset, err)
	}
	return makeDirs(p.home, o)
}

// probe tries what overlayfs needs. A store that is known passed it before; if
// there is no room to try it again, that must not keep its layers from being
// removed.
func (p *place) probe(ctx context.Context, known bool) error {
	if !known {
		return whiteout.Probe(ctx, string(p.home))
	}
	err := whiteout.Probe(ctx, p.home.own(newName))
	if class := fault.ClassOf(err); class == fault.NoSpace || class == fault.LimitReached {
		logrus.WithError(err).WithField("dataset", p.dataset).Warn("not probed again")
		return nil
	}
	return err
}

// mountHome mounts dataset on dir unless it is there already.
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
		return false, fault.NewWithRemedy(fault.Busy, "%q (%s) is mounted on the home %q, where dataset %q belongs; unmount it, or name it as overlayzfs.dataset", top.Source, top.FSType, dir, dataset)
	}
	if err := requireEmpty(dir, dataset); err != nil {
		return false, err
	}
	return true, zfs.MountDataset(dataset, dir)
}

// requireEmpty keeps a mount from hiding layers that are already there.
func requireEmpty(dir, dataset string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fault.New(fault.Exists, "home %q already holds %d entries such as %q, which mounting dataset %q would hide; move them away or drop the option overlayzfs.dataset", dir, len(entries), entries[0].Name(), dataset)
	}
	return nil
}

func datasetOfHome(dir string) (string, error) {
	onZFS, err := zfs.IsZFS(dir)
	if err != nil {
		return "", err
	}
	if !onZFS {
		return "", fault.New(fault.Unsupported, "home %q does not lie on ZFS; create a dataset (`zfs create -o mountpoint=legacy POOL/NAME`) and name it with overlayzfs.dataset=POOL/NAME, or put Docker's data-root on ZFS", dir)
	}
	return zfs.DatasetOf(dir)
}

// checkStore refuses a directory that holds something other than a store of
// this format, and reports whether it holds one of ours already. A directory
// with short links is a store of overlay2's, which becomes ours.
func checkStore(h home) (known bool, err error) {
	for _, mark := range []string{h.own(), h.path(linkDir)} { // not by reading thousands of layers' names
		if _, err := os.Lstat(mark); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return false, err
			}
			return knownFormat(h)
		}
	}
	names, err := readNames(string(h))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ownDir) { // what a probe left
			return false, fault.New(fault.Exists, "%s is neither empty nor a store of layers: it holds %q; give the driver a dataset of its own", h, name)
		}
	}
	return false, nil
}

// makeDirs makes the store's own directories. It changes only what is not
// right yet: a full dataset takes no change at all.
func makeDirs(h home, o Options) error {
	if err := own(h, o); err != nil {
		return err
	}
	dirs := []string{h.path(linkDir), h.own()}
	for _, name := range ownDirs {
		dirs = append(dirs, h.own(name))
	}
	for _, dir := range dirs {
		if err := makeOwn(dir); err != nil {
			return err
		}
	}
	return writeFormat(h)
}

// makeOwn makes a directory that is not there. A link to one is none.
func makeOwn(path string) error {
	err := os.Mkdir(path, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(path)
	if err == nil && !fi.IsDir() {
		err = misshapen(path, "is no directory")
	}
	return err
}

// own closes the home to all but root and the containers' root.
func own(h home, o Options) error {
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

// knownFormat reports whether the store is of our format, which one that
// overlay2 made is not yet.
func knownFormat(h home) (bool, error) {
	raw, err := os.ReadFile(h.own(formatName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var f format
	if err := json.Unmarshal(raw, &f); err != nil {
		return false, fault.New(fault.Invalid, "%s is damaged: %w", h.own(formatName), err)
	}
	if f.Version != formatVersion {
		return false, fault.New(fault.Unsupported, "the store in %s has format version %d; this overlayzfs knows version %d: use the version that wrote it", h, f.Version, formatVersion)
	}
	return true, nil
}

// writeFormat writes the format file once, in one step.
func writeFormat(h home) error {
	if _, err := os.Lstat(h.own(formatName)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw, err := json.Marshal(format{formatVersion})
	if err != nil {
		return err
	}
	return writeWhole(h.own(formatName), raw)
}

// writeWhole puts a file in place that a power cut does not tear: a name can be
// on disk before what it names. It is for files that are written once. What an
// earlier try left is not written to: it could be a link.
func writeWhole(path string, data []byte) error {
	return atomicfile.Replace(path, data, atomicfile.Options{Mode: 0o644, Durability: atomicfile.Content, Suffix: newSuffix})
}

// claim makes sure that one process at a time works on the store.
func claim(h home) (*os.File, error) {
	f, err := os.Open(string(h))
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
