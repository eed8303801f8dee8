package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Accel is how QEMU runs the guest's processor.
type Accel string

// KVM is fast, where it works. TCG, QEMU's own emulation, works everywhere;
// TCGSingle runs one processor at a time, for a QEMU before soundQEMU.
const (
	KVM       Accel = "kvm"
	TCG       Accel = "tcg"
	TCGSingle Accel = "tcg-single"
)

func (a Accel) args() []string {
	if a == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// QEMU 7.2 leaves wrong flags behind cmpxchg16b: an interrupt right after it
	// crashes the guest, in one boot of two. Four levels of page tables are
	// walked faster than five.
	thread := "multi"
	if a == TCGSingle {
		thread = "single"
	}
	return []string{"-accel", "tcg,thread=" + thread, "-cpu", "max,-cx16,-la57"}
}

const (
	probeMarker = "lab: kernel is up"
	probeLimit  = 20 * time.Second
)

func hostIdentity(ctx context.Context) string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	version, _ := exec.CommandContext(ctx, qemuProgram, "--version").Output()
	qemu, _, _ := strings.Cut(string(version), "\n")
	return strings.Join([]string{unix.ByteSliceToString(name.Release[:]), strings.TrimSpace(string(boot)), qemu}, " / ")
}

// needsProbeKVM tells whether only a boot can tell if KVM works.
func (g *Guest) needsProbeKVM(ctx context.Context) bool {
	if _, known := g.findAnswer(ctx, KindKVM); known {
		return false
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	device.Close()
	return true
}

// probeKVM boots the guest's kernel under KVM: there are hosts where /dev/kvm
// opens and makes machines that never get that far.
func (g *Guest) probeKVM(ctx context.Context) (refusal string) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Sprintf("no KVM (%v)", err)
	}
	device.Close()
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "512M", "-serial", "stdio",
		"-kernel", g.kernel, "-initrd", g.probe, "-append", "console=ttyS0 panic=-1",
	}, KVM.args()...)
	cmd := exec.CommandContext(ctx, qemuProgram, args...)
	cmd.WaitDelay = time.Second
	if output, _ := cmd.Output(); !strings.Contains(string(output), probeMarker) {
		return "/dev/kvm does not run a stock kernel"
	}
	return ""
}
