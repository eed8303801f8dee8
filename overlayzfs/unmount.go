package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// When a writable overlay ends, the kernel syncs the file system of its upper directory: it
// commits all that any container wrote to the dataset, and a limited layer's own dataset waits
// for a transaction group. No caller needs that. So the driver unmounts the layer at once and
// lets the file system end in the background. Until it has ended the layer is not mounted
// again. A process that is killed meanwhile leaves nothing: the kernel ends the file system.

// unmountLayer unmounts the layer. When a process on the host has a file open in it, the
// mount is detached and ends with its last user, as in overlay2. Then lingers is true.
func (d *Driver) unmountLayer(l layer) (lingers bool, err error) {
	err = d.unmountMerged(l)
	if errors.Is(err, fault.Busy) {
		logrus.WithField("layer", l.id).Info("in use at its last Put: the mount is detached and ends with its last user")
		lingers, err = true, mount.Detach(l.merged())
	}
	if err != nil {
		return lingers, err
	}
	return lingers, errors.Join(removeMountPoint(l), d.detach(l))
}

// unmountMerged unmounts the layer and has its file system end in the background. The kernel
// refuses while a file in it is open. It does nothing for a layer that is not mounted.
func (d *Driver) unmountMerged(l layer) error {
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil || !mounted {
		return err
	}
	held := d.holdMount(l)
	err = mount.Unmount(l.merged())
	switch {
	case held == nil:
	case err != nil:
		err = errors.Join(err, held.Close())
	default:
		d.endings.begin(l.id, held)
	}
	return err
}

// holdMount holds the layer's file system. It returns nil for a volatile mount, which syncs
// nothing and has to end before the layer's barrier, and where the kernel cannot hold it.
func (d *Driver) holdMount(l layer) *os.File {
	if d.isMutable(l) || d.durableWithChild.has(l.id) {
		return nil
	}
	held, err := mount.Hold(l.merged())
	if err != nil {
		logrus.WithError(err).WithField("layer", l.id).Debug("unmounting the layer waits for its dataset")
		return nil
	}
	return held
}

// removeMountPoint removes the layer's mount point. That also ends the mount in every
// other mount name space.
func removeMountPoint(l layer) error {
	err := os.Remove(l.merged())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// endings are the layers that were unmounted and whose file systems have not ended yet.
type endings struct {
	mu    sync.Mutex
	ended map[string]chan struct{}
}

// begin closes what holds a layer's file system, in the background.
func (e *endings) begin(id string, held io.Closer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended == nil {
		e.ended = map[string]chan struct{}{}
	}
	ended, before := make(chan struct{}), e.ended[id] // before: of a removed layer of this ID
	e.ended[id] = ended
	go func() {
		if err := held.Close(); err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("the layer's file system may not have ended")
		}
		if before != nil {
			<-before
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.ended[id] == ended {
			delete(e.ended, id)
		}
		close(ended)
	}()
}

// of returns what is closed when no file system of the layer is ending, or nil when none is.
func (e *endings) of(id string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ended := e.ended[id]; ended != nil {
		return ended
	}
	return nil
}

// wait waits until no file system of the layer is ending.
func (e *endings) wait(ctx context.Context, id string) error {
	ended := e.of(id)
	if ended == nil {
		return nil
	}
	return waitEnd(ctx, ended)
}

// waitAll waits until no layer's file system is ending.
func (e *endings) waitAll(ctx context.Context) error {
	e.mu.Lock()
	all := slices.Collect(maps.Values(e.ended))
	e.mu.Unlock()
	for _, ended := range all {
		if err := waitEnd(ctx, ended); err != nil {
			return err
		}
	}
	return nil
}

func waitEnd(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of an earlier mount: %w", context.Cause(ctx))
	}
}
