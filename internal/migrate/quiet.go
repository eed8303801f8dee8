package migrate

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// volumesDB is the database of volumes, which dockerd keeps locked from its start
// to its end (volume/service/store.go). It has no other use of the file's lock, so
// whoever holds it keeps dockerd from starting.
const volumesDB = "volumes/metadata.db"

// ErrRunning is of a dockerd that has to be stopped first.
var ErrRunning = fault.New(fault.Busy, "dockerd is running on this data-root: stop it, and its socket unit with it (`systemctl stop docker.socket docker`)")

// quiet makes sure that no dockerd uses the data-root, and that none begins to
// until release is called.
func (r *dataRoot) quiet() (release func() error, err error) {
	f, err := r.OpenFile(volumesDB, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil // no dockerd was ever started here
	}
	if err != nil {
		return nil, err
	}
	if err := fsat.TryLock(int(f.Fd())); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, err
	}
	return f.Close, nil
}

// requireUnmounted makes sure that nothing uses the layers below a directory:
// containers outlive a dockerd that was killed, or has live-restore.
func requireUnmounted(dir string) error {
	mounts, err := mount.Below(dir)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.FSType == "overlay" || strings.Contains(m.Mountpoint, "/graph/") {
			return fault.New(fault.Busy, "%s is still mounted: a container outlived dockerd. Start dockerd without live-restore, stop the container, and stop dockerd again", m.Mountpoint)
		}
	}
	return nil
}
