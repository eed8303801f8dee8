package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HasVolatile reports whether overlayfs knows the option volatile (Linux 5.10).
// Nothing but the kernel's release tells.
func HasVolatile() (bool, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false, fmt.Errorf("uname: %w", err)
	}
	return releaseHasVolatile(unix.ByteSliceToString(name.Release[:])), nil
}

func releaseHasVolatile(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 10
}
