package mount

import "github.com/overlayzfs/overlayzfs/internal/versions"

var (
	// volatileSince is the first Linux with overlayfs's option volatile.
	volatileSince = versions.Version{5, 10}
	// lowerdirPlusSince is the first Linux with overlayfs's option lowerdir+.
	lowerdirPlusSince = versions.Version{6, 8}
)

// HasVolatile reports whether overlayfs has the option volatile. Only the kernel's release
// tells.
func HasVolatile() (bool, error) { return kernelIsAtLeast(volatileSince) }

// HasLowerdirPlus reports whether the lower directories may exceed mount(2)'s one page. Only
// the kernel's release tells: before Linux 6.5 fsconfig(2) accepts any option of an overlay,
// and fails only when the options fill a page.
func HasLowerdirPlus() (bool, error) { return kernelIsAtLeast(lowerdirPlusSince) }

func kernelIsAtLeast(since versions.Version) (bool, error) {
	name, err := versions.KernelRelease()
	return err == nil && isAtLeast(name, since), err
}

// isAtLeast reports whether a kernel's release, as uname returns it, is since or later.
func isAtLeast(name string, since versions.Version) bool {
	v, ok := versions.Parse(name)
	return ok && !v.IsBefore(since)
}
