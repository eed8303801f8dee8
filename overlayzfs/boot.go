package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
)

// bootFile is where the kernel keeps an ID of its own start.
const bootFile = "/proc/sys/kernel/random/boot_id"

// clearStrays removes, at the first start after the host came up, the layers
// that mean nothing to any caller: those of before are all gone then, with
// what they had made and not recorded. A start that is not the first finds
// callers that may be in the middle of something.
func (d *Driver) clearStrays(ctx context.Context, stray func(id string, exists func(string) bool) bool) error {
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
	if stray != nil {
		if err := d.removeStrays(ctx, stray); err != nil {
			return err
		}
	}
	warn(d.home.own(bootName), os.WriteFile(d.home.own(bootName), boot, 0o600))
	return nil
}

func (d *Driver) removeStrays(ctx context.Context, stray func(id string, exists func(string) bool) bool) error {
	names, err := readNames(string(d.home))
	if err != nil {
		return err
	}
	exists := func(id string) bool {
		found, err := d.home.layer(id).exists()
		return err != nil || found
	}
	for _, id := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(id, ".") || checkID("layer", id) != nil || !stray(id, exists) {
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
