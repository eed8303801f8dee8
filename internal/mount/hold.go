package mount

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Hold keeps the file system mounted on dir in existence until the returned file is closed,
// also when dir is unmounted. The mount on dir is as busy as before. The last Close writes out
// what the file system still has to write, and can take long. (open_tree(2), Linux 5.2.)
func Hold(dir string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	if err != nil {
		return nil, fmt.Errorf("open_tree of %q: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}
