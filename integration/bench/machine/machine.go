package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Describe describes the machine of this process.
func Describe() (result.Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return result.Machine{}, fmt.Errorf("uname: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return result.Machine{}, fmt.Errorf("sysinfo: %w", err)
	}
	module, err := os.ReadFile("/sys/module/zfs/version")
	if err != nil {
		return result.Machine{}, fmt.Errorf("the version of the zfs module: %w", err)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return result.Machine{}, err
	}
	return result.Machine{
		Kernel:      unix.ByteSliceToString(name.Release[:]),
		OpenZFS:     strings.TrimSpace(string(module)),
		CPUs:        runtime.NumCPU(),
		MemoryMiB:   int(info.Totalram * uint64(info.Unit) >> 20),
		Accelerator: accelerator(string(cpu)),
	}, nil
}

// accelerator returns what runs the processors of this machine, by /proc/cpuinfo: QEMU
// names its emulated processors, and User-Mode Linux is its own vendor.
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
