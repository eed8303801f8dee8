package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// Remove removes the layer, mounted or not, because dockerd and BuildKit remove layers
// that they never put. A missing layer is no error. A layer with an open file stays as it
// is, and the error is of class Busy. After any other error the caller may repeat Remove,
// which waits for the disk again.
func (d *Driver) Remove(ctx context.Context, id string) error {
	d.carries.interrupt(id)
	err := d.runLocked(ctx, "remove", id, func(l layer) error {
		trash, err := d.moveToTrash(l)
		if err != nil {
			return err
		}
		d.snapshots.Notify(snapshot.Removed)
		err = d.barrierForRemove(ctx, id)
		d.reaper.enqueue(trash)
		if err != nil {
			return fmt.Errorf("the layer is gone, and a power cut may bring it back: remove it again: %w", err)
		}
		return nil
	})
	// This wait holds no lock: it can take minutes, and the store has to remain usable.
	d.reaper.waitBacklog(ctx)
	return err
}

// removeLayer removes a layer without a barrier, for recovery.
func (d *Driver) removeLayer(l layer) error {
	trash, err := d.moveToTrash(l)
	if err == nil {
		d.reaper.enqueue(trash)
	}
	return err
}

// moveToTrash renames the layer into the trash in one step and returns its path there. The
// path is empty when no files are left to delete.
func (d *Driver) moveToTrash(l layer) (trash string, err error) {
	short, err := readShortName(l.dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		exists, err := l.exists()
		if err != nil {
			return "", err
		}
		if !exists {
			d.forgetLayer(l.id)
			return "", nil
		}
		if err := l.requireLayer(); err != nil {
			return "", err
		}
	case err != nil && !errors.Is(err, fault.Invalid): // a damaged layer can be removed too
		return "", err
	}
	if err := d.unmountMerged(l); err != nil {
		return "", err
	}
	d.unwatch(l)
	if err := d.detach(l); err != nil && !errors.Is(err, fault.Invalid) { // a damaged layer can be removed too
		return "", err
	}
	if short == "" {
		if short, err = d.findShortName(l); err != nil {
			return "", err
		}
	}
	trash = d.home.privatePath(trashDir, short)
	err = publish(l.dir(), trash)
	if class := fault.ClassOf(fault.Classify(err)); class == fault.NoSpace || class == fault.LimitReached {
		return "", d.removeInPlace(l)
	}
	if err != nil {
		return "", err
	}
	// The limit's dataset does not wait for other layers' files: others may need its space.
	warnLeftover(trash, d.discardLinkAndLimit(trash, d.endings.of(l.id)))
	d.forgetLayer(l.id)
	return trash, nil
}

// forgetLayer deletes the store's marks and counts of a removed layer. The layer is gone
// then, so a failure is only logged. The next start deletes the marks.
func (d *Driver) forgetLayer(id string) {
	d.refs.forget(id)
	d.durableLayers.remove(id)
	d.untriedLayers.remove(id)
	d.durableWithChild.remove(id)
	d.limited.remove(id)
	err := d.clearMarks(id)
	if _, failed := os.Lstat(d.home.applyPath(id)); !errors.Is(failed, fs.ErrNotExist) {
		err = errors.Join(err, removeTree(d.home.applyPath(id)))
	}
	warnLeftover(d.home.applyPath(id), err)
}

// removeInPlace deletes a layer where it is. A full pool or dataset refuses renames but
// not deletions, and removing layers must remain possible. When it is cut short, the layer
// exists with less content, and dockerd removes it again at its start.
func (d *Driver) removeInPlace(l layer) error {
	if err := d.discardLinkAndLimit(l.dir(), d.endings.of(l.id)); err != nil {
		return err
	}
	if err := removeTree(l.diff()); err != nil {
		return err
	}
	if err := removeTree(l.dir()); err != nil {
		return err
	}
	d.forgetLayer(l.id)
	return nil
}

// discardLayer deletes a layer's directory in staging or in the trash. It deletes the
// short link first, because only the directory knows the link's name. A failure is left
// for the next start, which finds the directory again.
func (d *Driver) discardLayer(ctx context.Context, dir string) {
	err := d.discardLinkAndLimit(dir, nil)
	if err == nil {
		err = d.reapTree(ctx, dir)
	}
	if ctx.Err() == nil {
		warnLeftover(dir, err)
	}
}

// discardContent deletes content that was being unpacked when the process ended. It
// trusts no file in it: a file named "link" at its top came from a tar. While the layer
// exists its empty directory stays, so that the rest of the same stream is refused.
func (d *Driver) discardContent(dir string) {
	exists, err := d.home.layer(filepath.Base(dir)).exists()
	switch {
	case err != nil:
		warnLeftover(dir, err)
	case exists:
		emptyStage(dir)
	default:
		warnLeftover(dir, removeTree(dir))
	}
}

// findShortName finds the name of a layer's short link where the layer does not say it, for
// a power cut can empty a new layer's record. A layer without a link gets a new name.
func (d *Driver) findShortName(l layer) (string, error) {
	links, err := d.home.readShortLinks()
	if err != nil {
		return "", err
	}
	if short, ok := links.byLayer()[l.id]; ok {
		return short, nil
	}
	return NewShortName(), nil
}

// discardLinkAndLimit deletes the parts of a layer outside of its directory: the short
// link, and what its limit needed. The latter happens in the background, when the layer's mount
// has ended.
func (d *Driver) discardLinkAndLimit(dir string, ended <-chan struct{}) error {
	short, err := readShortName(dir)
	if name := filepath.Base(dir); errors.Is(err, fault.Invalid) && quota.IsKey(name) && filepath.Dir(dir) != string(d.home) {
		short, err = name, nil // a power cut emptied the file; in staging and in the trash the name is the link's
	}
	if err == nil {
		d.limits.DiscardLater(short, ended)
		err = os.Remove(d.home.path(linkDir, short))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.Invalid) {
		return nil
	}
	return err
}

// removeTree deletes path and everything below it. It ignores the caller's context,
// because half a removal would only wait for the next start.
func removeTree(path string) error { return removeTreeThen(context.Background(), path, func() {}) }

// reapBatch is how many deletions the intent log may have that no fsync has committed.
const reapBatch = 256

// reapTree is removeTree that stops when ctx ends. The first fsync of any container commits
// all deletions on the dataset. So reapTree calls fsync often, and no container waits for
// more than a few deletions.
func (d *Driver) reapTree(ctx context.Context, path string) error {
	deletions := 0
	return removeTreeThen(ctx, path, func() {
		if deletions++; deletions%reapBatch == 0 {
			_ = fsat.SyncFile(int(d.lock.Fd())) // nothing depends on it
		}
	})
}

// removeTreeThen stops when ctx ends. It calls removed after each deletion.
func removeTreeThen(ctx context.Context, path string, removed func()) error {
	parent, err := os.OpenFile(filepath.Dir(path), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	return fsat.RemoveAllThen(ctx, int(parent.Fd()), filepath.Base(path), removed)
}

// warnLeftover logs a failed deletion, which the next start repeats.
func warnLeftover(dir string, err error) {
	if err != nil {
		logrus.WithError(err).WithField("directory", dir).Warn("cannot clean up: left for the next start")
	}
}

// unlinkIfThere deletes a file's name. A missing file is no error. os.Remove would also
// ask whether it is a directory.
func unlinkIfThere(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unlink %q: %w", path, err)
	}
	return nil
}

// WaitReaper waits until the files and datasets of removed layers are deleted. It does not
// wait for the user of a dataset.
func (d *Driver) WaitReaper(ctx context.Context) error {
	err := errors.Join(d.endings.waitAll(ctx), d.reaper.waitIdle(ctx), d.limits.WaitDiscards(ctx))
	return d.addContext("delete removed layers", "", err)
}
