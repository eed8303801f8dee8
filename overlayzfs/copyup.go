package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// measureCopyUp measures what the first change of a small file costs a
// container here: overlayfs copies the file up, and ZFS waits for a transaction
// group at that unless sync=disabled. That it cannot be measured, on a full
// dataset for one, is no reason not to start.
func (d *Driver) measureCopyUp(ctx context.Context) {
	took, err := d.timeCopyUp(ctx)
	if err != nil {
		logrus.WithError(err).Info("the cost of a copy-up was not measured")
		return
	}
	d.copyUp = took.Round(10 * time.Microsecond).String()
}

// timeCopyUp makes a stack of two in the directory of layers being made, which
// the next start clears.
func (d *Driver) timeCopyUp(ctx context.Context) (took time.Duration, err error) {
	dir := d.home.own(newName, "copy-up-"+newShort())
	defer func() { err = errors.Join(err, removeTree(dir)) }()
	for _, sub := range []string{"lower", "upper", "work", mergedName} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lower", "file"), make([]byte, 4096), 0o600); err != nil {
		return 0, err
	}
	m, err := mount.Overlay{Dir: dir, Target: mergedName, Lowers: []string{"lower"}, Upper: "upper", Work: "work", Off: d.off}.Mount()
	if err != nil {
		return 0, err
	}
	// A file that is not on disk yet would be waited for whatever sync says.
	if err := d.recorded(ctx); err != nil {
		return 0, err
	}
	if err := m.Do(); err != nil {
		return 0, err
	}
	took, err = timeOpen(filepath.Join(dir, mergedName, "file"))
	return took, errors.Join(err, mount.Unmount(filepath.Join(dir, mergedName)))
}

// timeOpen opens for writing, which is what copies up.
func timeOpen(path string) (time.Duration, error) {
	begin := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("copy up: %w", err)
	}
	return took, f.Close()
}
