package containerdstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	digest "github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/boltcopy"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// The files in containerd's root.
const (
	metadataName = "io.containerd.metadata.v1.bolt/meta.db"
	blobsDir     = "io.containerd.content.v1.content/blobs"
)

// Root is a containerd's root directory.
type Root struct {
	root *os.Root
	dir  string
}

// Open opens containerd's root directory dir. Close it when done.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s does not exist: name containerd's root with --containerd-root", dir)
	}
	if err != nil {
		return nil, err
	}
	return &Root{root, dir}, nil
}

// Close closes the root.
func (r *Root) Close() error { return r.root.Close() }

// Dir returns the path of the root.
func (r *Root) Dir() string { return r.dir }

// openFile opens a regular file. It refuses a fifo or device without waiting for it.
func (r *Root) openFile(name string) (*os.File, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fault.New(fault.UnsafeInput, "%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Lock keeps containerd from opening its records until the lock is closed: it waits. Lock
// fails with fault.Busy while containerd runs.
func (r *Root) Lock() (io.Closer, error) {
	f, err := r.openFile(metadataName)
	if err != nil {
		return nil, err
	}
	if err = fsat.TryLockShared(int(f.Fd())); errors.Is(err, unix.EWOULDBLOCK) {
		err = fault.New(fault.Busy, "containerd has its records in %s open", r.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readDatabase calls read with a transaction of containerd's records.
func (r *Root) readDatabase(read func(tx *bbolt.Tx) error) error {
	f, err := r.openFile(metadataName)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "%s has no records of containerd: name containerd's root with --containerd-root", r.dir)
	}
	if err != nil {
		return err
	}
	return errors.Join(boltcopy.Read(f, read), f.Close())
}

// OpenBlob opens a file of the content store. It fails with fs.ErrNotExist for a blob that
// containerd lacks.
func (r *Root) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	return r.openFile(path.Join(blobsDir, d.Algorithm().String(), d.Encoded()))
}

// readJSON returns a file of the content store that has at most maxJSON bytes. Its content
// matches its digest.
func (r *Root) readJSON(d digest.Digest) ([]byte, error) {
	f, err := r.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(raw) > maxJSON {
		return nil, fault.New(fault.UnsafeInput, "%s is longer than %d bytes", d, maxJSON)
	}
	if d.Algorithm().FromBytes(raw) != d {
		return nil, fault.New(fault.Invalid, "the content of %s does not match its digest", d)
	}
	return raw, nil
}

// checkDigest returns an error for what is no digest of a known algorithm.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fault.New(fault.Invalid, "%.100q is not a digest: %w", string(d), err)
	}
	return nil
}
