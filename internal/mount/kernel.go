package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// release is a version of Linux.
type release struct{ major, minor int }

var (
	// volatileSince is the first Linux with overlayfs's option volatile.
	volatileSince = release{5, 10}
	// lowerdirPlusSince is the first Linux with overlayfs's option lowerdir+.
	lowerdirPlusSince = release{6, 8}
)

// HasVolatile reports whether overlayfs has the option volatile. Only the kernel's release
// tells.
func HasVolatile() (bool, error) { return kernelIsAtLeast(volatileSince) }

// HasLowerdirPlus reports whether the lower directories may exceed mount(2)'s one page. Only
// the kernel's release tells: before Linux 6.5 fsconfig(2) accepts any option of an overlay,
// and fails only when the options fill a page.
func HasLowerdirPlus() (bool, error) { return kernelIsAtLeast(lowerdirPlusSince) }

func kernelIsAtLeast(since release) (bool, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false, fmt.Errorf("uname: %w", err)
	}
	return isAtLeast(unix.ByteSliceToString(name.Release[:]), since), nil
}

// isAtLeast reports whether a kernel's release, as uname returns it, is since or later.
func isAtLeast(name string, since release) bool {
	var r release
	if _, err := fmt.Sscanf(name, "%d.%d", &r.major, &r.minor); err != nil {
		return false
	}
	return r.major > since.major || r.major == since.major && r.minor >= since.minor
}
