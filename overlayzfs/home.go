package overlayzfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// prepareHome makes path a directory on ZFS that layers can live in and
// returns its real path and dataset.
func prepareHome(ctx context.Context, path string, o Options) (home, string, error) {
	if !filepath.IsAbs(path) {
		return "", "", fault.New(fault.Invalid, "home %q is not an absolute path", path)
	}
	if err := os.MkdirAll(path, 0o710); err != nil {
		return "", "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", err
	}
	if o.Dataset != "" {
		if err := mountHome(real, o.Dataset); err != nil {
			return "", "", err
		}
	}
	dataset, err := datasetOfHome(real)
	if err != nil {
		return "", "", err
	}
	h := home(real)
	if err := makeDirs(h, o); err != nil {
		return "", "", err
	}
	if err := whiteout.Probe(ctx, h.own(newName)); err != nil {
		return "", "", fmt.Errorf("dataset %s: %w", dataset, err)
	}
	return h, dataset, nil
}

// mountHome mounts dataset on dir unless it is there already.
func mountHome(dir, dataset string) error {
	infos, err := mount.At(dir)
	if err != nil {
		return err
	}
	if len(infos) > 0 {
		top := infos[len(infos)-1]
		if top.FSType == "zfs" && top.Source == dataset {
			return nil
		}
		return fault.New(fault.Busy, "%q (%s) is mounted on the home %q, where dataset %q belongs; unmount it, or name it as overlayzfs.dataset", top.Source, top.FSType, dir, dataset)
	}
	if err := requireEmpty(dir, dataset); err != nil {
		return err
	}
	return zfs.MountDataset(dataset, dir)
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

// makeDirs makes the store's own directories, after checking that no newer
// version left a store that this one would not understand.
func makeDirs(h home, o Options) error {
	if err := checkFormat(h); err != nil {
		return err
	}
	_, gid := o.IDs.RootPair()
	if err := os.Chown(string(h), os.Getuid(), gid); err != nil {
		return err
	}
	if err := os.Chmod(string(h), 0o710); err != nil {
		return err
	}
	for _, dir := range []string{h.path(linkDir), h.own(), h.own(newName), h.own(applyName), h.own(buildingName), h.own(trashName)} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return writeFormat(h)
}

func checkFormat(h home) error {
	raw, err := os.ReadFile(h.own(formatName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f format
	if err := json.Unmarshal(raw, &f); err != nil {
		return fault.New(fault.Invalid, "%s is damaged: %w", h.own(formatName), err)
	}
	if f.Version != formatVersion {
		return fault.New(fault.Unsupported, "the store in %s has format version %d; this overlayzfs knows version %d: use the version that wrote it", h, f.Version, formatVersion)
	}
	return nil
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
	next := h.own(formatName + ".new")
	if err := os.WriteFile(next, raw, 0o644); err != nil {
		return err
	}
	return os.Rename(next, h.own(formatName))
}

// claim makes sure that one process at a time works on the store.
func claim(h home) (*os.File, error) {
	f, err := os.OpenFile(h.own(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
