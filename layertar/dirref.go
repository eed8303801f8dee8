package layertar

import (
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// dirRef is an open directory with a count of its users. The last one closes it.
type dirRef struct {
	path  string
	fd    int
	users atomic.Int32
}

// newDirRef opens dirfd once more; the caller is the first user.
func newDirRef(path string, dirfd int) (*dirRef, error) {
	fd, err := fsat.Dup(dirfd)
	if err != nil {
		return nil, err
	}
	d := &dirRef{path: path, fd: fd}
	d.users.Store(1)
	return d, nil
}

func (d *dirRef) acquire() *dirRef {
	d.users.Add(1)
	return d
}

// release ends one use. Closing cannot lose anything: nothing was written through the
// descriptor.
func (d *dirRef) release() {
	if d.users.Add(-1) == 0 {
		fsat.CloseQuietly(d.fd)
	}
}

// dirRefCache keeps the directory of the last job open, because the next job is
// usually in the same one.
type dirRefCache struct{ dir *dirRef }

// acquire returns the directory at path, open as dirfd, for one job.
func (c *dirRefCache) acquire(path string, dirfd int) (*dirRef, error) {
	if c.dir == nil || c.dir.path != path {
		c.drop()
		dir, err := newDirRef(path, dirfd)
		if err != nil {
			return nil, err
		}
		c.dir = dir
	}
	return c.dir.acquire(), nil
}

// drop forgets the directory: its path may mean another one now.
func (c *dirRefCache) drop() {
	if c.dir != nil {
		c.dir.release()
		c.dir = nil
	}
}
