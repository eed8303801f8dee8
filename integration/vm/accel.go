package vm

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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

// accelAnswer is the kept answer of a probe, with what it depends on.
type accelAnswer struct {
	Host  string `json:"host"`
	Accel Accel  `json:"accel"`
}

// accel finds out whether KVM is usable, by booting the guest's kernel: there
// are hosts where /dev/kvm opens and makes machines that never get that far.
// The answer is kept until the host, its kernel or QEMU changes.
func (g *Guest) accel(ctx context.Context) Accel {
	host := hostIdentity(ctx)
	file := filepath.Join(g.cache, "accel.json")
	var kept accelAnswer
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &kept) == nil && kept.Host == host {
		return kept.Accel
	}
	answer := accelAnswer{Host: host, Accel: TCG}
	switch {
	case g.kvmBoots(ctx):
		answer.Accel = KVM
	case installedQEMU(ctx).before(soundQEMU):
		answer.Accel = TCGSingle
	}
	if ctx.Err() == nil {
		// Only a cache: another user's is read-only, and asked again each time.
		if data, err := json.Marshal(answer); err == nil {
			_ = os.WriteFile(file, data, 0o644)
		}
	}
	return answer.Accel
}

func hostIdentity(ctx context.Context) string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	version, _ := exec.CommandContext(ctx, qemuProgram, "--version").Output()
	qemu, _, _ := strings.Cut(string(version), "\n")
	return strings.Join([]string{unix.ByteSliceToString(name.Release[:]), strings.TrimSpace(string(boot)), qemu}, " / ")
}

func (g *Guest) kvmBoots(ctx context.Context) bool {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	device.Close()
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "512M", "-serial", "stdio",
		"-kernel", g.kernel, "-initrd", filepath.Join(filepath.Dir(g.initramfs), "probe"), "-append", "console=ttyS0 panic=-1",
	}, KVM.args()...)
	cmd := exec.CommandContext(ctx, qemuProgram, args...)
	cmd.WaitDelay = time.Second
	output, _ := cmd.Output()
	return strings.Contains(string(output), probeMarker)
}
