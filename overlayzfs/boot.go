package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
)

// bootFile is where the kernel keeps an ID of its own start.
const bootFile = "/proc/sys/kernel/random/boot_id"

// clearStrays removes, at the first start after the host came up, the layers
// that mean nothing to any caller, and what is left of those that were being
// made: the callers of before are all gone then, with what they had not recorded. A start that is not the first finds
// callers that may be in the middle of something.
func (d *Driver) clearStrays(ctx context.Context) error {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return err
	}
	last, err := os.ReadFile(d.home.own(bootName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(last) == string(boot) {
		return nil
	}
	if err := d.removeStrays(ctx); err != nil {
		return err
	}
	if err := d.unlinkDangling(ctx); err != nil {
		return err
	}
	warn(d.home.own(bootName), writeWhole(d.home.own(bootName), boot))
	return nil
}

// torn reports whether the layer was being made when the power went: its names
// were in the intent log and what its files say was not. Before Create answers
// all of it is on disk.
func (l layer) torn() bool {
	link, err := os.Lstat(l.home.path(l.id, linkName))
	if err == nil && link.Size() == 0 {
		return true
	}
	lower, err := os.Lstat(l.home.path(l.id, lowerName))
	return err == nil && lower.Size() == 0
}

// unlinkDangling deletes short links to layers that are not there.
func (d *Driver) unlinkDangling(ctx context.Context) error {
	names, err := readNames(d.home.path(linkDir))
	if err != nil {
		return err
	}
	for _, short := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		link := d.home.path(linkDir, short)
		target, err := os.Readlink(link)
		if err != nil {
			return err
		}
		// Not through the link: a limited layer's content is not mounted now.
		if _, err := os.Lstat(filepath.Dir(filepath.Join(filepath.Dir(link), target))); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		warn(link, errors.Join(d.limits.Discard(short), os.Remove(link)))
	}
	return nil
}

// isStray reports whether the layer means nothing to any caller after the host
// came up again.
func (d *Driver) isStray(id string) bool {
	return d.stray != nil && d.stray(id, func(id string) bool {
		found, err := d.home.layer(id).exists()
		return err != nil || found
	})
}

func (d *Driver) removeStrays(ctx context.Context) error {
	names, err := readNames(string(d.home))
	if err != nil {
		return err
	}
	for _, id := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if checkID("layer", id) != nil || !d.home.layer(id).torn() && !d.isStray(id) {
			continue
		}
		logrus.WithField("layer", id).Info("removed: it was made for something that was never recorded")
		if err := d.remove(d.home.layer(id)); err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("left for the next start of the host")
		}
	}
	return nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
