package dockerstore

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// OpenFile opens one of Docker's files by its path below the data-root.
func (r *Root) OpenFile(name string) (*os.File, error) { return r.open(name) }

// ImageFiles lists the files of the images in records and of their layers, by their
// paths below ImagesDir. Files of containers, builds and layers without an image are
// left out.
func (r *Root) ImageFiles(records *Records) ([]string, error) {
	l := &lister{Root: r, base: ImagesDir(records.Driver)}
	l.addOptional("repositories.json")
	chains, diffs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, image := range records.Images {
		l.addRequired("imagedb/content/sha256/" + image.ID.Encoded())
		l.addExisting("imagedb/metadata/sha256/"+image.ID.Encoded(), metadataFiles)
		for _, chain := range image.Chains {
			chains[chain], diffs[records.Layers[chain].Diff] = true, true
		}
	}
	for chain := range chains {
		l.addRequired("layerdb/sha256/" + chain.Encoded() + "/cache-id")
		l.addExisting("layerdb/sha256/"+chain.Encoded(), layerFiles)
	}
	for diff := range diffs {
		l.addOptional("distribution/v2metadata-by-diffid/sha256/" + diff.Encoded())
	}
	l.addDigestsOf(diffs)
	slices.Sort(l.names)
	return slices.Compact(l.names), errors.Join(l.errs...)
}

// metadataFiles are the files that Docker 20.10 to 27 writes for an image beside its
// configuration (image/store.go), layerFiles those for a layer (layer/filestore.go).
// Other files are ignored, because anybody may have put them there.
var (
	metadataFiles = []string{"parent", "lastUpdated", "builtLocally"}
	layerFiles    = []string{"cache-id", "diff", "parent", "size", "os", "descriptor.json", tarSplitName}
)

// maxTarSplit bounds the record of a tar. Layers with very many files have the longest.
const maxTarSplit = 1 << 30

// MaxRecordSize returns the largest size that a file of ImageFiles may have.
func MaxRecordSize(name string) int64 {
	switch base := path.Base(name); {
	case base == tarSplitName:
		return maxTarSplit
	case strings.HasPrefix(name, "layerdb/") && base != "descriptor.json", strings.HasPrefix(name, "imagedb/metadata/"), strings.HasPrefix(name, "distribution/diffid-by-digest/"):
		return maxLine
	}
	return maxJSON
}

// ImagesDir returns the directory of a driver's records, below the data-root.
func ImagesDir(driver string) string { return path.Join(imagesDir, driver) }

// lister collects the names of files below a directory.
type lister struct {
	*Root
	base  string
	names []string
	errs  []error
}

func (l *lister) addRequired(name string) {
	if !l.exists(path.Join(l.base, name)) {
		l.errs = append(l.errs, fault.New(fault.NotFound, "Docker's record %s has vanished", path.Join(l.base, name)))
		return
	}
	l.names = append(l.names, name)
}

func (l *lister) addOptional(name string) {
	if l.exists(path.Join(l.base, name)) {
		l.names = append(l.names, name)
	}
}

// addExisting adds the files with one of these names in a directory that may be missing.
func (l *lister) addExisting(dir string, names []string) {
	entries, err := l.list(path.Join(l.base, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	l.errs = append(l.errs, err)
	for _, entry := range entries {
		if entry.Type().IsRegular() && slices.Contains(names, entry.Name()) {
			l.names = append(l.names, path.Join(dir, entry.Name()))
		}
	}
}

// addDigestsOf adds the records that map a registry's digests to these layers.
func (l *lister) addDigestsOf(diffs map[digest.Digest]bool) {
	const dir = "distribution/diffid-by-digest/sha256"
	entries, err := l.list(path.Join(l.base, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	l.errs = append(l.errs, err)
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if diff, err := l.readLine(path.Join(l.base, name), false); err == nil && diffs[digest.Digest(diff)] {
			l.names = append(l.names, name)
		}
	}
}

// volumesDB is Docker's database of volumes. dockerd keeps it locked while it runs
// (volume/service/store.go), so holding the lock prevents dockerd from starting.
const volumesDB = "volumes/metadata.db"

// openVolumesDB opens the database of volumes. The directory of volumes may be a symlink that
// leads out of the data-root: the administrator put it there, and dockerd follows it.
func (r *Root) openVolumesDB() (*os.File, error) {
	dir, base := path.Split(volumesDB)
	info, err := r.root.Lstat(path.Clean(dir))
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		return os.OpenFile(filepath.Join(r.dir, dir, base), os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	}
	return r.root.OpenFile(volumesDB, os.O_RDWR|unix.O_NONBLOCK, 0)
}

// LockDockerd prevents dockerd from starting on the data-root until the file is closed. It
// fails with fault.Busy while dockerd runs. The file is nil when dockerd never used the
// data-root.
func (r *Root) LockDockerd() (*os.File, error) {
	f, err := r.openVolumesDB()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = fsat.TryLock(int(f.Fd()))
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fault.New(fault.Busy, "dockerd is running on %s: stop it, and its socket unit with it (`systemctl stop docker.socket docker`)", r.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
