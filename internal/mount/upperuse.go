package mount

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// IsUpperInUse reports whether an overlay has dir as its upper directory: in any mount name
// space, and also a detached overlay that ends with its last user. The mount table shows only
// the caller's own name space.
//
// It asks the kernel for a mount that cannot be. The kernel first reserves the upper directory,
// which index=on makes fail with EBUSY for one in use. Then it finds that the work directory is
// no other directory, and refuses with EINVAL before it writes anything (ovl_get_upper and
// ovl_get_workdir, fs/overlayfs/super.c, since Linux 4.13).
func IsUpperInUse(dir string) (bool, error) {
	m := Mount{
		Type: "overlay", Source: "overlay", Target: ".", Dir: dir,
		Options: []Option{{"index", "on"}, {"lowerdir", "."}, {"upperdir", "."}, {"workdir", "."}},
	}
	err := m.Do()
	switch {
	case errors.Is(err, unix.EBUSY):
		return true, nil
	case errors.Is(err, unix.EINVAL):
		return false, nil
	case err == nil:
		return false, errors.Join(fmt.Errorf("an overlay on %q with one directory for everything was not refused", dir), Detach(dir))
	}
	return false, err
}
