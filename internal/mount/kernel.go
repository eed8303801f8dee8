package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// release is a version of Linux.
type release struct{ major, minor int }

var (
	// volatileSince is the first Linux whose overlayfs has the option volatile.
	volatileSince = release{5, 10}
	// lowersOneByOneSince is the first with lowerdir+.
	lowersOneByOneSince = release{6, 8}
)

// HasVolatile reports whether overlayfs knows the option volatile. Nothing but
// the kernel's release tells.
func HasVolatile() (bool, error) { return running(volatileSince) }

// HasLowerdirPlus reports whether lower directories may take more than the
// one page of mount(2). Before overlayfs was made for fsconfig(2), in 6.5, the
// kernel took any option from there, and failed when they filled a page: its
// release tells what its errors do not.
func HasLowerdirPlus() (bool, error) { return running(lowersOneByOneSince) }

func running(since release) (bool, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false, fmt.Errorf("uname: %w", err)
	}
	return reached(unix.ByteSliceToString(name.Release[:]), since), nil
}

// reached tells whether a kernel's release, as uname has it, is since or later.
func reached(name string, since release) bool {
	var r release
	if _, err := fmt.Sscanf(name, "%d.%d", &r.major, &r.minor); err != nil {
		return false
	}
	return r.major > since.major || r.major == since.major && r.minor >= since.minor
}
