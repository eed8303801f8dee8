package layertar

import (
	"sync/atomic"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// heldDir is a directory that jobs work in, open as long as one of them does.
type heldDir struct {
	path  string
	fd    int
	users atomic.Int32
}

// hold opens dirfd once more for jobs; the caller is the first user.
func hold(path string, dirfd int) (*heldDir, error) {
	fd, err := fsat.Dup(dirfd)
	if err != nil {
		return nil, err
	}
	d := &heldDir{path: path, fd: fd}
	d.users.Store(1)
	return d, nil
}

func (d *heldDir) share() *heldDir {
	d.users.Add(1)
	return d
}

// release is by each user, once. Nothing was written through the descriptor.
func (d *heldDir) release() {
	if d.users.Add(-1) == 0 {
		fsat.CloseQuietly(d.fd)
	}
}

// holder keeps the directory open that the last jobs were given in.
type holder struct{ dir *heldDir }

// in returns the directory at path, open as dirfd, for one job.
func (h *holder) in(path string, dirfd int) (*heldDir, error) {
	if h.dir == nil || h.dir.path != path {
		h.leave()
		dir, err := hold(path, dirfd)
		if err != nil {
			return nil, err
		}
		h.dir = dir
	}
	return h.dir.share(), nil
}

// leave forgets the directory: its path may mean another one now.
func (h *holder) leave() {
	if h.dir != nil {
		h.dir.release()
		h.dir = nil
	}
}
