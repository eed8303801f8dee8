package mount

import (
	"fmt"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Info is one line of the mount table.
type Info = mountinfo.Info

// ListAt returns the mounts on exactly target, oldest first; nil for none.
func ListAt(target string) ([]*Info, error) {
	return table(func(i *Info) bool { return i.Mountpoint == target })
}

// ListBelow returns the mounts strictly below dir.
func ListBelow(dir string) ([]*Info, error) {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	return table(func(i *Info) bool { return strings.HasPrefix(i.Mountpoint, prefix) })
}

// CountOverlaysOn counts the overlays with a lower, upper or work directory below dir. Each
// counts once, wherever and however often it is mounted.
func CountOverlaysOn(dir string) (int, error) {
	infos, err := table(func(i *Info) bool { return i.FSType == "overlay" && usesDirBelow(i.VFSOptions, dir) })
	seen := map[[2]int]bool{}
	for _, i := range infos {
		seen[[2]int{i.Major, i.Minor}] = true
	}
	return len(seen), err
}

// usesDirBelow reports whether an overlay's options name a directory below dir:
// lowerdir=A:B, upperdir=C, or lowerdir+=A.
func usesDirBelow(options, dir string) bool {
	below := strings.TrimSuffix(dir, "/") + "/"
	return strings.Contains(options, "="+below) || strings.Contains(options, ":"+below)
}

func table(keep func(*Info) bool) ([]*Info, error) {
	infos, err := mountinfo.GetMounts(func(i *Info) (skip, stop bool) { return !keep(i), false })
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return infos, nil
}

// FindByPath returns the mount that path lies on.
func FindByPath(path string) (*Info, error) {
	infos, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var best *Info
	for _, i := range infos {
		if best == nil || len(i.Mountpoint) >= len(best.Mountpoint) {
			best = i
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no mount holds %q", path)
	}
	return best, nil
}

// IsOverlay reports whether dir is on an overlay. It uses statfs(2), because the mount table
// is long on a busy host.
func IsOverlay(dir string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("statfs %q: %w", dir, err)
	}
	return st.Type == unix.OVERLAYFS_SUPER_MAGIC, nil
}
