package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// What cannot be deleted now is left where the next session's start finds it:
// nothing knows it as a layer any more.

// discardLayer deletes the directory of a layer that was being made or
// removed, its short link first: the link's name is known only from inside.
func (d *Driver) discardLayer(ctx context.Context, dir string) {
	err := d.unlinkShort(dir)
	if err == nil {
		err = removeTreeWhile(ctx, dir)
	}
	if ctx.Err() == nil {
		warn(dir, err)
	}
}

// discardContent deletes what was unpacked for a layer when the process ended.
// Nothing in it is believed: a file named "link" at its top came from
// somebody's tar. While the layer exists its empty directory stays, so that
// the rest of the same stream is refused.
func (d *Driver) discardContent(dir string) {
	exists, err := d.home.layer(filepath.Base(dir)).exists()
	switch {
	case err != nil:
		warn(dir, err)
	case exists:
		spoil(dir)
	default:
		warn(dir, removeTree(dir))
	}
}

// unlinkShort takes away what the layer has outside of its directory: its short
// link, and what its limit needed.
func (d *Driver) unlinkShort(dir string) error {
	short, err := readShort(dir)
	if err == nil {
		err = d.limits.Discard(short)
	}
	if err == nil {
		err = os.Remove(d.home.path(linkDir, short))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.Invalid) {
		return nil
	}
	return err
}

// removeTree deletes path and all below it. It is not cut short with the call
// that asked for it: half a removal would only wait for the next start.
func removeTree(path string) error { return removeTreeWhile(context.Background(), path) }

// removeTreeWhile is removeTree for whoever can go on later.
func removeTreeWhile(ctx context.Context, path string) error {
	parent, err := os.OpenFile(filepath.Dir(path), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	return fsat.RemoveAll(ctx, int(parent.Fd()), filepath.Base(path))
}

func warn(dir string, err error) {
	if err != nil {
		logrus.WithError(err).WithField("directory", dir).Warn("left for the next start")
	}
}
