package doctor

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/versions"
)

// version has the first three numbers of a version or release.
type version versions.Version

// parseVersion reads "2.3.9-0+deb13u1" and "6.12.107+deb13-cloud-amd64".
func parseVersion(text string) (v version, ok bool) {
	parsed, ok := versions.Parse(text)
	return version(parsed), ok
}

func (v version) isBefore(o version) bool {
	return versions.Version(v).IsBefore(versions.Version(o))
}

// String formats the version with two numbers for Linux, otherwise with three.
func (v version) String() string {
	if v[2] == 0 && v[0] >= 3 { // Linux
		return fmt.Sprintf("%d.%d", v[0], v[1])
	}
	return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
}

// The first versions with a feature, or without it.
var (
	overlayNeeds  = version{2, 2, 0}   // OpenZFS, as an upper of overlayfs
	volatileNeeds = version{5, 10, 0}  // Linux, for fast build steps
	bcloneNeeds   = version{2, 3, 0}   // OpenZFS, to copy up by cloning blocks
	pluginsFirst  = version{20, 10, 0} // Docker
	pluginsGated  = version{27, 0, 0}
	pluginsGone   = version{28, 0, 0}
)

// HasGraphdriverPlugins reports whether a version of Docker has graphdriver plugins. An
// unreadable version counts as a new one.
func HasGraphdriverPlugins(docker string) bool {
	v, ok := parseVersion(docker)
	return ok && v.isBefore(pluginsGone)
}

// isPatched reports whether a version of OpenZFS is a distribution's own, such as
// 2.2.2-0ubuntu9.4, 2.3.4-pve1 or 2.3.2-1~bpo12+2: it has patches for the distribution's
// kernels, and repairs of later releases. Releases of OpenZFS have a number alone, 2.3.4-1.
func isPatched(module string) bool {
	_, release, _ := strings.Cut(module, "-")
	return strings.Trim(release, "0123456789") != ""
}

// newestLinux lists the newest kernel that each release of OpenZFS supports
// (Linux-Maximum in META).
var newestLinux = []struct{ openZFS, linux version }{
	{version{2, 2, 0}, version{6, 5}}, {version{2, 2, 1}, version{6, 6}}, {version{2, 2, 3}, version{6, 7}},
	{version{2, 2, 4}, version{6, 8}}, {version{2, 2, 5}, version{6, 9}}, {version{2, 2, 6}, version{6, 10}},
	{version{2, 2, 7}, version{6, 12}}, {version{2, 2, 8}, version{6, 15}}, {version{2, 2, 9}, version{6, 17}},
	{version{2, 3, 0}, version{6, 12}}, {version{2, 3, 1}, version{6, 13}}, {version{2, 3, 2}, version{6, 14}},
	{version{2, 3, 3}, version{6, 15}}, {version{2, 3, 4}, version{6, 16}}, {version{2, 3, 5}, version{6, 17}},
	{version{2, 3, 6}, version{6, 19}}, {version{2, 3, 7}, version{7, 0}}, {version{2, 3, 9}, version{7, 2}},
	{version{2, 4, 0}, version{6, 18}}, {version{2, 4, 1}, version{6, 19}}, {version{2, 4, 2}, version{7, 0}},
	{version{2, 4, 4}, version{7, 2}},
}

// newestKernel returns the newest kernel for a release, or false for a release that is
// newer than the table.
func newestKernel(v version) (linux version, ok bool) {
	for _, row := range newestLinux {
		if row.openZFS[0] == v[0] && row.openZFS[1] == v[1] && !v.isBefore(row.openZFS) {
			linux, ok = row.linux, true
		}
	}
	last := newestLinux[len(newestLinux)-1].openZFS
	return linux, ok && !last.isBefore(v)
}

// defect is a fault of OpenZFS that layers meet.
type defect struct {
	issue    int
	severity Severity
	what     string
	// fixed lists the first release with the repair, for each release line. Lines between
	// the first and the last that are not listed never had the defect.
	fixed []version
}

// defects lists the defects that were fixed by commits whose releases are known.
var defects = []defect{
	{15526, Broken, "a file that is copied while it is being written can come out with holes of zeros", []version{{2, 1, 14}, {2, 2, 2}, {2, 3, 0}}},
	{16324, Warning, "the kernel can oops when memory gets short while datasets are unmounted, which Docker does often", []version{{2, 2, 8}, {2, 3, 2}}},
	{17138, Warning, "mounting datasets under load can hang; reported with 2.3.1, and the code at fault was replaced", []version{{2, 2, 8}, {2, 3, 2}}},
}

// affects reports whether a version has the defect, and the first release of its line
// that does not.
func (d defect) affects(v version) (fixed version, has bool) {
	for _, f := range d.fixed {
		if f[0] == v[0] && f[1] == v[1] {
			return f, v.isBefore(f)
		}
	}
	return d.fixed[0], v.isBefore(d.fixed[0])
}
