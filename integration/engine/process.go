package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a program that runs until a signal or a crash ends it, and can be started
// again.
type Process struct {
	Args []string
	Log  string // file to which its output is appended
	// Socket is passed to the program as systemd does; nil is none.
	Socket *os.File

	cmd    *exec.Cmd
	exited chan error
}

// start starts the program and waits until ready passes.
func (p *Process) start(ready func() error) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = p.command()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := p.cmd, make(chan error, 1)
	p.exited = exited
	go func() { exited <- cmd.Wait() }()
	return p.await(ready)
}

// command returns the program's command. A program takes a passed socket only if
// LISTEN_PID is its own ID, which only a shell that executes the program knows.
func (p *Process) command() *exec.Cmd {
	if p.Socket == nil {
		return exec.Command(p.Args[0], p.Args[1:]...)
	}
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`}, p.Args...)...)
	cmd.ExtraFiles = []*os.File{p.Socket}
	return cmd
}

// await waits until the program is ready. It returns an error if the program ends
// first.
func (p *Process) await(ready func() error) error {
	limit := time.After(startLimit)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case err := <-p.exited:
			p.cmd = nil
			return fmt.Errorf("%s ended at its start: %w", p.name(), err)
		case <-limit:
			return errors.Join(fmt.Errorf("%s is not ready: %w", p.name(), err), p.end(syscall.SIGKILL))
		case <-poll.C:
		}
	}
}

// end sends a signal and waits for the program to end. The log says how it ended; a
// program that has ended already is no error.
func (p *Process) end(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	defer func() { p.cmd = nil }()
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopLimit):
		return errors.Join(fmt.Errorf("%s does not end", p.name()), p.cmd.Process.Kill())
	}
}

func (p *Process) name() string { return filepath.Base(p.Args[0]) }

// tail returns the end of the log.
func (p *Process) tail() string {
	raw, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	const most = 6000
	return string(raw[max(0, len(raw)-most):])
}
