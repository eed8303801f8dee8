package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// startProcess starts QEMU or the User-Mode Linux kernel, with a socket per port.
func (m *Machine) startProcess(ctx context.Context) error {
	m.process = m.hardware.command(ctx, m.choice.Kind, m.dir)
	messages, err := os.Create(m.processLog())
	if err != nil {
		return err
	}
	defer messages.Close()
	m.process.Stderr = messages
	// The process must not outlive us, nor get the terminal's Ctrl-C: the context
	// decides. A process with a terminal stays in our group to read from it.
	m.group = !m.hardware.terminal
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: m.group}
	m.process.Cancel = m.killProcess
	if m.hardware.terminal {
		m.process.Stdin, m.process.Stdout = os.Stdin, os.Stdout
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
		m.process.ExtraFiles = append(m.process.ExtraFiles, theirs)
	}
	console, err := os.Create(m.console)
	if err != nil {
		m.closePorts()
		return err
	}
	defer console.Close()
	m.process.ExtraFiles = append(m.process.ExtraFiles, console)
	if err := m.processors.run(m.process.Start); err != nil {
		m.closePorts()
		return fmt.Errorf("starting the machine: %w", err)
	}
	exited := m.exited
	go func() {
		// How it ended says nothing that its console does not say better.
		_ = m.process.Wait()
		close(exited)
	}()
	return nil
}

// killProcess ends the machine's process, and those that it made.
func (m *Machine) killProcess() error {
	if m.group {
		return unix.Kill(-m.process.Process.Pid, unix.SIGKILL)
	}
	return m.process.Process.Kill()
}

func (m *Machine) processLog() string { return filepath.Join(m.dir, "process.log") }

func (m *Machine) closePorts() {
	for _, port := range m.ports {
		if port != nil {
			port.Close()
		}
	}
}

// listen reads the ports until each has said its last, or the process has ended.
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
		// The rest is the tar's padding.
		_, _ = io.Copy(io.Discard, pipeOut)
	})
}
