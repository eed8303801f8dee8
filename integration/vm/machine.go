package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const qemuProgram = "qemu-system-x86_64"

// Options are the hardware of one machine. Zero values mean the defaults.
type Options struct {
	Memory string // as QEMU takes it; 6G
	CPUs   int    // 2
	Pool   PoolMode
	// PoolSize of a new pool disk in bytes; 20 GiB, as a sparse file.
	PoolSize int64
	// KeepPool is the pool disk's file. It outlives the machine, and a pool on
	// it is imported by the next one.
	KeepPool string
	// CheckLeaks fails the job (exit code 3, with a list on standard error) when
	// it leaves a mount, dataset, loop device or process behind.
	CheckLeaks bool
	// Append are more words for the kernel's command line.
	Append []string
	// Console is the file for the kernel's messages; none by default.
	Console string
	// Terminal connects the process's own standard input and output with
	// /dev/hvc0 of the guest.
	Terminal bool
}

func (o Options) withDefaults() Options {
	if o.Memory == "" {
		o.Memory = "6G"
	}
	if o.CPUs == 0 {
		o.CPUs = 2
	}
	if o.Pool == "" {
		o.Pool = PoolAuto
	}
	if o.PoolSize == 0 {
		o.PoolSize = 20 << 30
	}
	return o
}

// settleTime is how long a machine with a kept pool may take to export it.
const settleTime = 40 * time.Second

// Machine is a running guest. It ends with its job, when it is killed, or with
// the context it was started with. Wait must be called.
type Machine struct {
	job     *Job
	keep    bool
	dir     string // of its own, removed in the end
	inUse   *os.File
	console string
	args    []string // QEMU's
	end     []byte   // of each stream
	qemu    *exec.Cmd
	exited  chan struct{} // closed when QEMU has ended
	ready   chan struct{} // closed when the job begins
	ports   [portCount]*os.File
	report  report
	streams sync.WaitGroup
}

// report is what the ports told. Each field has one writer; they are read when
// all streams have ended.
type report struct {
	control            control
	outDone, errDone   bool
	outErr, errErr     error
	filesDone          bool
	filesErr, qemuExit error
}

// Run boots a machine for a job and waits for it.
func (g *Guest) Run(ctx context.Context, options Options, job *Job, stdout, stderr io.Writer) (int, error) {
	machine, err := g.Start(ctx, options, job, stdout, stderr)
	if err != nil {
		return 0, err
	}
	return machine.Wait()
}

// Start boots a machine for a job, and returns when the job begins or cannot
// any more. The job's output goes to stdout and stderr as it comes. The end of
// ctx ends the machine like [Machine.Kill].
//
// An emulated kernel now and then hangs or dies while it comes up. The job has
// seen nothing of it then, so it is booted again.
func (g *Guest) Start(ctx context.Context, options Options, job *Job, stdout, stderr io.Writer) (*Machine, error) {
	options = options.withDefaults()
	dir, inUse, err := machineDir()
	if err != nil {
		return nil, err
	}
	m := &Machine{job: job, keep: options.KeepPool != "", dir: dir, inUse: inUse, console: options.Console}
	if m.console == "" {
		m.console = filepath.Join(dir, "console.log")
	}
	if err := m.prepare(ctx, g, options); err != nil {
		return nil, errors.Join(err, m.removeDir())
	}
	for try := 1; ; try++ {
		if err := m.power(ctx, options.Terminal, stdout, stderr); err != nil {
			return nil, errors.Join(err, m.removeDir())
		}
		if m.cameUp(ctx) || try == bootTries {
			return m, nil
		}
		m.closePorts()
	}
}

const (
	bootTries = 3
	// bootTime is how long a machine may take until its job begins, on a host
	// that has much else to do.
	bootTime = 4 * time.Minute
)

// cameUp waits for the job to begin, and reports whether there is any use in
// waiting longer. If not, the machine is off.
func (m *Machine) cameUp(ctx context.Context) bool {
	limit := time.NewTimer(bootTime)
	defer limit.Stop()
	select {
	case <-m.ready:
		return true
	case <-m.exited:
	case <-limit.C:
		m.Kill()
	}
	m.streams.Wait()
	select {
	case <-m.ready: // and ended at once
		return true
	default:
		return ctx.Err() != nil || m.report.control.failure != ""
	}
}

// prepare makes the disks and the command line.
func (m *Machine) prepare(ctx context.Context, g *Guest, options Options) error {
	pool := options.KeepPool
	if pool == "" {
		pool = filepath.Join(m.dir, "pool.img")
	}
	if err := preparePool(pool, options.PoolSize, options.Pool); err != nil {
		return fmt.Errorf("preparing the pool disk: %w", err)
	}
	jobDisk, err := m.writeJobDisk()
	if err != nil {
		return err
	}
	nonce := rand.Text()
	words := []string{"lab.nonce=" + nonce, "lab.pool=" + string(options.Pool), "lab.job=/dev/vdc"}
	if m.keep {
		words = append(words, "lab.keep=yes")
	}
	if options.CheckLeaks {
		words = append(words, "lab.leaks=check")
	}
	m.end = trailer(nonce)
	m.args = qemuArgs(hardware{
		accel:  g.accel(ctx),
		memory: options.Memory, cpus: options.CPUs,
		kernel: g.kernel, initramfs: g.initramfs,
		cmdline: append(words, options.Append...),
		console: m.console,
		root:    g.root, pool: pool, poolDirect: supportsDirect(pool), job: jobDisk,
		terminal: options.Terminal,
	})
	return nil
}

// power switches the machine on.
func (m *Machine) power(ctx context.Context, terminal bool, stdout, stderr io.Writer) error {
	m.exited, m.ready = make(chan struct{}), make(chan struct{})
	m.report = report{}
	if err := m.startQEMU(ctx, m.args, terminal); err != nil {
		return err
	}
	m.listen(stdout, stderr, m.end)
	return nil
}

// writeJobDisk writes the job as a disk that holds nothing but a tar.
func (m *Machine) writeJobDisk() (string, error) {
	file, err := os.Create(filepath.Join(m.dir, "job.tar"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := m.job.writeTar(file); err != nil {
		return "", err
	}
	// The guest's tar reads whole records of 10 KiB.
	end, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", err
	}
	const alignment = 1 << 20
	if err := file.Truncate((end/alignment + 1) * alignment); err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

// startQEMU starts the process with a socket per port.
func (m *Machine) startQEMU(ctx context.Context, args []string, terminal bool) error {
	m.qemu = exec.CommandContext(ctx, qemuProgram, args...)
	messages, err := os.Create(m.qemuLog())
	if err != nil {
		return err
	}
	defer messages.Close()
	m.qemu.Stderr = messages
	// QEMU must not outlive us, nor get the terminal's Ctrl-C: the context
	// decides. A process with a terminal stays in our group to read from it.
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: !terminal}
	if terminal {
		m.qemu.Stdin, m.qemu.Stdout = os.Stdin, os.Stdout
	}
	for port := range portCount {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			m.closePorts()
			return os.NewSyscallError("socketpair", err)
		}
		m.ports[port] = os.NewFile(uintptr(pair[0]), "port")
		theirs := os.NewFile(uintptr(pair[1]), "port")
		defer theirs.Close()
		m.qemu.ExtraFiles = append(m.qemu.ExtraFiles, theirs)
	}
	if err := m.qemu.Start(); err != nil {
		m.closePorts()
		return fmt.Errorf("starting the machine: %w", err)
	}
	exited := m.exited
	go func() {
		m.report.qemuExit = m.qemu.Wait()
		close(exited)
	}()
	return nil
}

func (m *Machine) qemuLog() string { return filepath.Join(m.dir, "qemu.log") }

func (m *Machine) closePorts() {
	for _, port := range m.ports {
		if port != nil {
			port.Close()
		}
	}
}

// listen reads the ports until each has said its last, or QEMU has ended.
func (m *Machine) listen(stdout, stderr io.Writer, end []byte) {
	r := &m.report
	m.streams.Go(func() { r.outDone, r.outErr = copyToTrailer(stdout, m.ports[portOut], end) })
	m.streams.Go(func() { r.errDone, r.errErr = copyToTrailer(stderr, m.ports[portErr], end) })
	m.streams.Go(func() { r.control = readControl(m.ports[portControl], m.ready) })
	if len(m.job.Outs) == 0 {
		r.filesDone = true
		return
	}
	pipeOut, pipeIn := io.Pipe()
	m.streams.Go(func() {
		r.filesDone, _ = copyToTrailer(pipeIn, m.ports[portFiles], end)
		pipeIn.Close()
	})
	m.streams.Go(func() {
		r.filesErr = readOuts(pipeOut, m.job.Outs)
		// What a tar is padded with.
		_, _ = io.Copy(io.Discard, pipeOut)
	})
}

// Ready is closed when the job began. It stays open when the machine ended
// before that.
func (m *Machine) Ready() <-chan struct{} { return m.ready }

// Exited is closed when the machine is off.
func (m *Machine) Exited() <-chan struct{} { return m.exited }

// Talk is the host's end of a line to the job, which opens the device that
// [TalkPort] matches. Unlike the job's output, which passes through pipes of
// the guest, what the job has got an answer to has left the machine: a power
// cut cannot take it back. Reading ends with the machine.
func (m *Machine) Talk() io.ReadWriter { return m.ports[portTalk] }

// Kill cuts the power.
func (m *Machine) Kill() {
	_ = m.qemu.Process.Kill()
	<-m.exited
}

// Wait returns the job's exit code. An error means that the machine, not the
// job, failed or was ended: see [EndedError].
func (m *Machine) Wait() (int, error) {
	m.streams.Wait()
	code, err := m.outcome()
	if err == nil && m.keep {
		select {
		case <-m.exited:
		case <-time.After(settleTime):
		}
	}
	// Nothing of the machine is of use any more: no need to shut it down.
	m.Kill()
	m.closePorts()
	if err != nil && m.report.control.failure == "" {
		err = m.explain(err)
	}
	return code, errors.Join(err, m.removeDir())
}

// errEnded is the bare reason of an [EndedError].
var errEnded = errors.New("the machine ended before its job")

func (m *Machine) outcome() (int, error) {
	r := &m.report
	switch {
	case r.control.failure != "":
		return 0, fmt.Errorf("the guest could not start the job: %s", r.control.failure)
	case !r.control.exited || !r.outDone || !r.errDone || !r.filesDone:
		return 0, errEnded
	}
	return r.control.code, errors.Join(r.outErr, r.errErr, r.filesErr)
}
