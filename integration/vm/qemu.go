package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const qemuProgram = "qemu-system-x86_64"

// The ports of a machine, in the order of their file descriptors in its process and
// of their numbers in the guest (see guest/run-job).
const (
	portOut = iota
	portErr
	portControl
	portFiles
	portTalk // the job's own, in both directions; the guest's scripts leave it alone
	portCount
)

// TalkPort matches the device of [Machine.Talk] in the guest.
var TalkPort = fmt.Sprintf("/dev/vport*p%d", portTalk+1)

// firstPortFD is the descriptor of the first port: after standard error.
const firstPortFD = 3

// hardware is all that a machine's command line is made of.
type hardware struct {
	accel             Accel
	memory            string
	cpus              int
	kernel, initramfs string
	cmdline           []string
	console           string // log file of the kernel
	root              string // disk images; root is never written to
	pool              string
	poolDirect        bool // the pool's file system supports O_DIRECT
	job               string
	modules           string // of a stock kernel
	terminal          bool   // a console on the process's own standard input and output
	memoryDir         string // of User-Mode Linux
}

// command is the process of a machine whose directory is dir.
func (h hardware) command(ctx context.Context, kind Kind, dir string) *exec.Cmd {
	if kind != KindUML {
		return exec.CommandContext(ctx, qemuProgram, qemuArgs(h)...)
	}
	cmd := exec.CommandContext(ctx, h.kernel, umlArgs(h)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+h.memoryDir)
	return cmd
}

// qemuArgs is the command line for the hardware. The order of the disks is the
// order of their names in the guest: vda root, vdb pool, vdc job, vdd
// modules.
func qemuArgs(h hardware) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"}
	args = append(args, h.accel.args()...)
	args = append(args,
		"-m", h.memory, "-smp", fmt.Sprint(h.cpus),
		"-kernel", h.kernel, "-initrd", h.initramfs,
		"-append", strings.Join(append(kernelOptions(), h.cmdline...), " "),
		"-serial", "file:"+h.console,
	)
	poolCache := "cache=writeback,aio=threads"
	if h.poolDirect {
		poolCache = "cache=none,aio=threads"
	}
	args = append(args, drive("root", h.root, "snapshot=on,"+unlocked)...)
	args = append(args, drive("pool", h.pool, poolCache+",discard=unmap")...)
	args = append(args, drive("job", h.job, "readonly=on")...)
	args = append(args, drive("modules", h.modules, "readonly=on,"+unlocked)...)
	args = append(args, "-device", "virtio-serial-pci")
	for port := range portCount {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=port%d,fd=%d", port, firstPortFD+port),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,nr=%d", port, port+1))
	}
	if h.terminal {
		args = append(args, "-chardev", "stdio,id=terminal,signal=off", "-device", "virtconsole,chardev=terminal,nr=0")
	}
	return args
}

// kernelOptions are those of every machine.
func kernelOptions() []string {
	return []string{
		"console=ttyS0",
		"loglevel=4",      // warnings and worse: a serial line is slow
		"panic=-1",        // ends the machine at once
		"no_timer_check",  // its timer may come late on a busy host, and the check then ends the boot
		"mitigations=off", // nobody attacks it, and emulated they are slow
	}
}

// unlocked is for files that no machine writes to and many share: QEMU would refuse one that
// a User-Mode Linux has locked for reading.
const unlocked = "file.locking=off"

func drive(id, file, options string) []string {
	return []string{
		// QEMU reads a doubled comma as part of the name.
		"-drive", "if=none,id=" + id + ",format=raw,file=" + strings.ReplaceAll(file, ",", ",,") + "," + options,
		"-device", "virtio-blk-pci,drive=" + id,
	}
}
