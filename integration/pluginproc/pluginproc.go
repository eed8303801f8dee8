package pluginproc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Environment variables that name the programs.
const (
	pluginEnv      = "OVERLAYZFS_PLUGIN"
	snapshotterEnv = "OVERLAYZFS_SNAPSHOTTER"
)

// startLimit is how long dockerd waits for a plugin's socket.
const startLimit = 9 * time.Second

// Process is a running plugin or snapshotter.
type Process struct {
	Socket string
	args   []string
	dir    string
	cmd    *exec.Cmd
}

// Start starts the plugin in a directory outside of TMPDIR: tests must not see its
// socket and state.
func Start(args ...string) (*Process, error) { return start(nil, pluginEnv, pluginArgs(args)) }

func pluginArgs(args []string) func(dir string) []string {
	return func(dir string) []string {
		return append([]string{"--state", filepath.Join(dir, "init.json")}, args...)
	}
}

// StartSnapshotter starts the snapshotter without a configuration file.
func StartSnapshotter(args ...string) (*Process, error) {
	return start(nil, snapshotterEnv, func(string) []string {
		return append([]string{"--config", os.DevNull}, args...)
	})
}

// start starts the program that a variable names, as an argument of the wrapper if there is one.
func start(wrapper []string, env string, args func(dir string) []string) (*Process, error) {
	binary := os.Getenv(env)
	if binary == "" {
		return nil, fmt.Errorf("%s names no binary", env)
	}
	dir, err := os.MkdirTemp("/tmp", "pluginproc-")
	if err != nil {
		return nil, err
	}
	p := &Process{Socket: filepath.Join(dir, "door.sock"), dir: dir}
	p.args = slices.Concat(wrapper, []string{binary, "--socket", p.Socket}, args(dir))
	return p, p.Again()
}

// Again starts the process once more, after Kill or Stop.
func (p *Process) Again() error {
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return err
	}
	return p.awaitSocket()
}

// awaitSocket waits until the socket answers. It polls, because nothing signals that
// the socket exists.
func (p *Process) awaitSocket() error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(startLimit)
	for {
		conn, err := net.Dial("unix", p.Socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-limit:
			return errors.Join(fmt.Errorf("%s does not answer: %w", p.args[0], err), p.Kill())
		case <-poll.C:
		}
	}
}

// Pid returns the process's ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process as a crash would.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop asks the process to end.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if sig == syscall.SIGKILL && errors.As(err, &exit) {
		return nil
	}
	return err
}

// Remove deletes the process's socket and state.
func (p *Process) Remove() error { return os.RemoveAll(p.dir) }
