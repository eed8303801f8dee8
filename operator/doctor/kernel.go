package doctor

import (
	"fmt"
)

// kernel looks at Linux and its overlayfs.
func kernel(f Facts) []Finding {
	const check = "kernel"
	if !f.Overlay {
		return []Finding{{check, Broken, "Linux " + f.Kernel + " without overlayfs", "layers are overlay mounts", "modprobe overlay; echo overlay >/etc/modules-load.d/overlay.conf"}}
	}
	if v, ok := parse(f.Kernel); ok && v.before(volatileNeeds) {
		return []Finding{{check, Warning, "Linux " + f.Kernel, "build steps are mounted volatile from Linux " + volatileNeeds.String() + " on; before, each fsync in a RUN waits for the disk", "install a newer kernel"}}
	}
	return ok(check, "Linux "+f.Kernel+", with overlayfs")
}

// module looks at the OpenZFS that is loaded, and whether it goes with the kernel.
func module(f Facts) []Finding {
	const check = "OpenZFS"
	if f.ModuleErr != nil {
		return []Finding{{check, Broken, "the zfs module is not loaded: " + f.ModuleErr.Error(), "layers lie on ZFS", "modprobe zfs    # if that fails: apt install zfsutils-linux zfs-dkms, or your distribution's packages"}}
	}
	v, readable := parse(f.Module)
	if !readable {
		return []Finding{{check, Warning, f.Module, "the version cannot be read, so nothing can be said of it", ""}}
	}
	if v.before(overlayNeeds) {
		return []Finding{{check, Broken, f.Module, "overlayfs accepts ZFS as its upper layer from OpenZFS " + overlayNeeds.String() + " on", "install OpenZFS 2.2 or later (Debian 12: from bookworm-backports)"}}
	}
	linux, known := supports(v)
	running, readable := parse(f.Kernel)
	switch {
	case !known:
		return []Finding{{check, Note, f.Module, "newer than those that this overlayzfs knows", ""}}
	case readable && linux.before(version{running[0], running[1]}):
		return []Finding{{check, Warning, fmt.Sprintf("%s on Linux %d.%d", f.Module, running[0], running[1]), "this release of OpenZFS was made for kernels up to " + linux.String(), "install an OpenZFS that names this kernel, or boot an older kernel"}}
	case v.before(bcloneNeeds):
		return []Finding{{check, Note, f.Module, "a file's first change in a container copies it byte by byte; OpenZFS " + bcloneNeeds.String() + " clones its blocks", "install OpenZFS 2.3 or later"}}
	}
	return ok(check, f.Module+", made for kernels up to "+linux.String())
}

// device looks at /dev/zfs.
func device(f Facts) []Finding {
	const check = "/dev/zfs"
	switch {
	case !f.Device:
		return nil
	case f.DeviceErr != nil:
		return []Finding{{check, Broken, f.DeviceErr.Error(), "limits, snapshots and durable layers under sync=disabled go through this device", "modprobe zfs; test -c /dev/zfs || mknod -m 666 /dev/zfs c 10 $(sed -n 's/ zfs$//p' /proc/misc)    # and run this as root"}}
	}
	return ok(check, "answers")
}

// knownBad looks for versions with defects that layers meet.
func knownBad(f Facts) (found []Finding) {
	v, readable := parse(f.Module)
	if f.ModuleErr != nil || !readable {
		return nil
	}
	for _, d := range defects {
		if fixed, has := d.has(v); has {
			found = append(found, Finding{
				fmt.Sprintf("openzfs #%d", d.issue), d.severity, f.Module + " has it", d.what, "install OpenZFS " + fixed.String() + " or later",
			})
		}
	}
	return found
}
