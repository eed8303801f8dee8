package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// probeProjects finds out whether project quotas can limit layers. The error is of class
// fault.Unsupported when they cannot. An attempt that failed for another reason proves
// nothing, and its own error is returned.
//
// The kernel accepts an overlay on project directories and fails later, in the container. So
// the probe does what overlayfs does there. It makes symbolic links and whiteouts in the work
// directory, links whiteouts there, and renames them into the upper directory.
func probeProjects(ctx context.Context, c Config) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.ZFS.ProjectUsage(c.Dataset, probeProject); err != nil {
		return fmt.Errorf("project quotas: %w", err)
	}
	if _, err := newCounterFiles(c.Dataset).read(); err != nil {
		return fault.New(fault.Unsupported, "project quotas need the dataset's counters, which cannot be read: %w", err)
	}
	dir, err := os.MkdirTemp(c.Staging, ".project-probe-")
	if err != nil {
		return fmt.Errorf("probe project quotas: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return explainProbe(probeRenames(dir))
}

// probeRenames makes upper and work as a layer has them, and renames files between them.
func probeRenames(dir string) error {
	for _, name := range []string{"upper", "work"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := setProjectID(path, probeProject); err != nil {
			return err
		}
	}
	work, err := os.Open(filepath.Join(dir, "work"))
	if err != nil {
		return err
	}
	defer work.Close()
	fd := int(work.Fd())
	makers := map[string]func(name string) error{
		"symlink":  func(name string) error { return fsat.Symlink("target", fd, name) },
		"whiteout": func(name string) error { return fsat.Mknod(fd, name, unix.S_IFCHR, 0) },
		"shared whiteout": func(name string) error {
			return errors.Join(fsat.Mknod(fd, "first", unix.S_IFCHR, 0), fsat.Link(fd, "first", fd, name))
		},
	}
	for name, make := range makers {
		if err := make(name); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "work", name), filepath.Join(dir, "upper", name)); err != nil {
			return err
		}
	}
	return nil
}

// explainProbe says why project quotas are not used.
func explainProbe(err error) error {
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	version, look := zfs.Version()
	if look != nil {
		version = "of unknown version"
	}
	return fault.New(fault.Unsupported, "with project quotas of OpenZFS %s a container could not delete a file of its image: %w (openzfs issue #18932, fixed in releases after 2.4.4)", version, unix.EXDEV)
}
