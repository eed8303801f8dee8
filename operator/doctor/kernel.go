package doctor

import (
	"fmt"
)

// checkKernel checks Linux and its overlayfs.
func checkKernel(f Facts) []Finding {
	const check = "kernel"
	if !f.Overlay {
		return []Finding{{check, Broken, "Linux " + f.Kernel + " without overlayfs", "layers are overlay mounts", "modprobe overlay; echo overlay >/etc/modules-load.d/overlay.conf"}}
	}
	if v, ok := parseVersion(f.Kernel); ok && v.isBefore(volatileNeeds) {
		return []Finding{{check, Warning, "Linux " + f.Kernel, "build steps are mounted volatile from Linux " + volatileNeeds.String() + " on; before, each fsync in a RUN waits for the disk", "install a newer kernel"}}
	}
	return okFinding(check, "Linux "+f.Kernel+", with overlayfs")
}

// checkModule checks the loaded OpenZFS, and whether it supports the kernel.
func checkModule(f Facts) []Finding {
	const check = "OpenZFS"
	if f.ModuleErr != nil {
		return []Finding{{check, Broken, f.ModuleErr.Error(), "layers lie on ZFS", "modprobe zfs    # if that fails: apt install zfsutils-linux zfs-dkms, or your distribution's packages"}}
	}
	v, readable := parseVersion(f.Module)
	if !readable {
		return []Finding{{check, Warning, f.Module, "the version cannot be read, so nothing can be said of it", ""}}
	}
	if v.isBefore(overlayNeeds) {
		return []Finding{{check, Broken, f.Module, "overlayfs accepts ZFS as its upper layer from OpenZFS " + overlayNeeds.String() + " on", "install OpenZFS 2.2 or later (Debian 12: from bookworm-backports)"}}
	}
	linux, known := newestKernel(v)
	running, readable := parseVersion(f.Kernel)
	switch {
	case !known:
		return []Finding{{check, Note, f.Module, "newer than those that this overlayzfs knows", ""}}
	case readable && linux.isBefore(version{running[0], running[1]}) && isPatched(f.Module):
		return okFinding(check, fmt.Sprintf("%s on Linux %d.%d, as the distribution builds it", f.Module, running[0], running[1]))
	case readable && linux.isBefore(version{running[0], running[1]}):
		return []Finding{{check, Warning, fmt.Sprintf("%s on Linux %d.%d", f.Module, running[0], running[1]), "this release of OpenZFS was made for kernels up to " + linux.String(), "install an OpenZFS that names this kernel, or boot an older kernel"}}
	case v.isBefore(bcloneNeeds):
		return []Finding{{check, Note, f.Module, "a file's first change in a container copies it byte by byte; OpenZFS " + bcloneNeeds.String() + " clones its blocks", "install OpenZFS 2.3 or later"}}
	}
	return okFinding(check, f.Module+", made for kernels up to "+linux.String())
}

// checkDevice checks /dev/zfs.
func checkDevice(f Facts) []Finding {
	const check = "/dev/zfs"
	switch {
	case !f.Device:
		return nil
	case f.DeviceErr != nil:
		return []Finding{{check, Broken, f.DeviceErr.Error(), "limits, snapshots and durable layers under sync=disabled go through this device", "modprobe zfs; test -c /dev/zfs || mknod -m 666 /dev/zfs c 10 $(sed -n 's/ zfs$//p' /proc/misc)    # and run this as root"}}
	}
	return okFinding(check, "answers")
}

// checkDefects finds known defects of the loaded OpenZFS.
func checkDefects(f Facts) (found []Finding) {
	v, readable := parseVersion(f.Module)
	if f.ModuleErr != nil || !readable {
		return nil
	}
	for _, d := range defects {
		if fixed, has := d.affects(v); has {
			found = append(found, d.finding(f.Module, fixed))
		}
	}
	return found
}

// finding describes a defect. Whether a distribution has the repair in an older version, only
// its changelog says.
func (d defect) finding(module string, fixed version) Finding {
	check := fmt.Sprintf("openzfs #%d", d.issue)
	if isPatched(module) {
		return Finding{check, Note, fmt.Sprintf("repaired in OpenZFS %s; %s is a distribution's, which may have the repair", fixed, module), d.what, fmt.Sprintf("apt changelog zfsutils-linux | grep %d    # or your distribution's way", d.issue)}
	}
	return Finding{check, d.severity, module + " has it", d.what, "install OpenZFS " + fixed.String() + " or later"}
}
