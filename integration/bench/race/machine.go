package race

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// DescribeMachine is what this race runs on.
func DescribeMachine() (result.Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return result.Machine{}, err
	}
	version, err := os.ReadFile("/sys/module/zfs/version")
	if err != nil {
		return result.Machine{}, err
	}
	info, err := readFigures("/proc/meminfo", 1)
	if err != nil {
		return result.Machine{}, err
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	return result.Machine{
		Kernel:      unix.ByteSliceToString(name.Release[:]),
		OpenZFS:     strings.TrimSpace(string(version)),
		CPUs:        runtime.NumCPU(),
		MemoryMiB:   int(info["MemTotal"] >> 10),
		Accelerator: accelerator(string(cpu)),
	}, err
}

// accelerator is what /proc/cpuinfo says of the machine below: QEMU's emulated
// processors are named so, and User-Mode Linux
// is its own vendor.
func accelerator(cpuinfo string) string {
	switch {
	case strings.Contains(cpuinfo, "User Mode Linux"):
		return "uml"
	case strings.Contains(cpuinfo, "QEMU TCG CPU"):
		return "tcg"
	case strings.Contains(cpuinfo, " hypervisor"):
		return "kvm"
	}
	return "none"
}
