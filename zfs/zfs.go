package zfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
)

// SuperMagic is the type of file system that statfs(2) reports for ZFS (ZFS_SUPER_MAGIC of
// include/sys/fs/zfs.h, OpenZFS 2.3).
const SuperMagic = 0x2fc12fc1

// IsZFS reports whether path lies on ZFS.
func IsZFS(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, fmt.Errorf("statfs %q: %w", path, err)
	}
	return st.Type == SuperMagic, nil
}

// DatasetOf returns the dataset that path lies on.
func DatasetOf(path string) (string, error) {
	info, err := mount.FindByPath(path)
	if err != nil {
		return "", err
	}
	if info.FSType != "zfs" {
		return "", fault.New(fault.Unsupported, "%q lies on %s (%s), not on ZFS", path, info.FSType, info.Source)
	}
	return info.Source, nil
}

// Version is the version of the loaded OpenZFS module, such as "2.3.9-1".
func Version() (string, error) {
	raw, err := os.ReadFile("/sys/module/zfs/version")
	if errors.Is(err, os.ErrNotExist) {
		return "", fault.New(fault.Unsupported, "the zfs kernel module is not loaded: install OpenZFS 2.2 or later and run `modprobe zfs`")
	}
	if err != nil {
		return "", fmt.Errorf("read the OpenZFS version: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
