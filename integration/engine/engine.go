// Package engine runs real dockerd processes for tests, inside the lab: one
// engine at a time or several side by side, each with its own data-root,
// sockets and log.
//
// It knows how to start, stop and kill an engine and how to call its command
// line; what a test does with it is the test's business.
package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startLimit is how long an engine may take to answer under emulation.
const startLimit = 2 * time.Minute

// stopLimit is how long it may take to end.
const stopLimit = time.Minute

// Options describe an engine.
type Options struct {
	Root   string         // data-root; made when missing
	Driver string         // storage driver
	Config map[string]any // further keys of daemon.json
}

// Engine is one dockerd and what belongs to it.
type Engine struct {
	Options
	dir    string // sockets, pid file, daemon.json and log
	cmd    *exec.Cmd
	exited chan error
}

// Start starts an engine and waits until it answers. It is stopped when the
// test ends.
func Start(t testing.TB, o Options) *Engine {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Options: o, dir: dir}
	t.Cleanup(func() {
		e.Stop(t)
		if t.Failed() {
			t.Logf("the end of the engine's log:\n%s", e.logTail())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e.Again(t)
	return e
}

// Again starts the engine once more, after Stop or Kill.
func (e *Engine) Again(t testing.TB) {
	t.Helper()
	err := e.TryAgain()
	// dockerd gives its containerd 15 s, which a loaded machine can exceed.
	if err != nil && strings.Contains(e.logTail(), "timeout waiting for containerd to start") {
		t.Logf("once more: %v", err)
		err = e.TryAgain()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, e.logTail())
	}
}

// TryAgain is Again for an engine that is expected not to start.
func (e *Engine) TryAgain() error {
	if err := e.launch(); err != nil {
		return err
	}
	return e.await()
}

func (e *Engine) launch() error {
	if err := e.writeConfig(); err != nil {
		return err
	}
	log, err := os.OpenFile(e.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e.cmd = exec.Command("dockerd", "--config-file", e.path("daemon.json"))
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := e.cmd, make(chan error, 1)
	e.exited = exited
	go func() { exited <- cmd.Wait() }()
	return nil
}

func (e *Engine) writeConfig() error {
	config := map[string]any{
		"data-root":      e.Root,
		"exec-root":      e.path("exec"),
		"pidfile":        e.path("pid"),
		"hosts":          []string{e.Host()},
		"storage-driver": e.Driver,
		"experimental":   true,
		"iptables":       false,
		"ip6tables":      false,
		"bridge":         "none",
	}
	for key, value := range e.Config {
		config[key] = value
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(e.path("daemon.json"), raw, 0o600)
}

// await returns when the engine answers, or an error when it ends first.
func (e *Engine) await() error {
	limit := time.After(startLimit)
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-e.exited:
			e.cmd = nil
			return fmt.Errorf("dockerd with storage driver %s ended at its start: %w", e.Driver, err)
		case <-limit:
			return errors.Join(fmt.Errorf("dockerd with storage driver %s does not answer", e.Driver), e.end(syscall.SIGKILL))
		case <-poll.C:
			if _, err := e.Try("version"); err == nil {
				return nil
			}
		}
	}
}

// Stop asks the engine to end and waits for it.
func (e *Engine) Stop(t testing.TB) {
	t.Helper()
	if err := e.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// Kill ends the engine as a crash would. What it started lives on.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	if err := e.end(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func (e *Engine) end(sig syscall.Signal) error {
	if e.cmd == nil {
		return nil
	}
	if err := e.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	defer func() { e.cmd = nil }()
	select {
	case <-e.exited: // how it ended is in its log
		return nil
	case <-time.After(stopLimit):
		return errors.Join(errors.New("dockerd does not end"), e.cmd.Process.Kill())
	}
}

// Docker runs the docker command against the engine and returns its output.
func (e *Engine) Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := e.Try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is Docker for a command that may fail.
func (e *Engine) Try(args ...string) (string, error) {
	out, err := e.Command(args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// Command is a docker command that the caller runs, for streams and
// environment of its own.
func (e *Engine) Command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "DOCKER_CONFIG="+e.path("client"))
	return cmd
}

// Host is the engine's address.
func (e *Engine) Host() string { return "unix://" + e.path("docker.sock") }

// ConfigFile is the engine's daemon.json.
func (e *Engine) ConfigFile() string { return e.path("daemon.json") }

// CommandLinePlugins is where the docker command of this engine looks for
// plugins of its own.
func (e *Engine) CommandLinePlugins() string { return filepath.Join(e.path("client"), "cli-plugins") }

// LogFile is where the engine's log is.
func (e *Engine) LogFile() string { return e.path("log") }

// Log is what the engine logged so far.
func (e *Engine) Log(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(e.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (e *Engine) logTail() string {
	raw, err := os.ReadFile(e.LogFile())
	if err != nil {
		return err.Error()
	}
	const most = 6000
	if len(raw) > most {
		raw = raw[len(raw)-most:]
	}
	return string(raw)
}

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }
