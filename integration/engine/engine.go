package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startLimit bounds the start of an engine, on an emulated machine too.
const startLimit = 2 * time.Minute

// shutdownTimeout is how many seconds dockerd waits at its end for its containers to stop. By
// default it waits for 15, which a loaded machine can exceed, and then leaves them running.
const shutdownTimeout = 240

// stopLimit bounds the end of an engine.
const stopLimit = (shutdownTimeout + 60) * time.Second

// answerLimit bounds one question to a daemon that starts: a socket can take it before
// anything serves.
const answerLimit = 30 * time.Second

// Options describe an engine.
type Options struct {
	Root   string         // data-root, made when missing
	Driver string         // storage driver
	Config map[string]any // other keys of daemon.json

	// ConfigFile is a complete daemon.json, which names Driver. Without one the engine
	// gets a generated file.
	ConfigFile string
	// Containerd is the socket of a running containerd. Without one dockerd starts its
	// own.
	Containerd string
}

// Engine is a dockerd with its directory.
type Engine struct {
	Options
	Process
	dir string // sockets, pid file, daemon.json and log
}

// Start starts an engine and waits until it answers. The end of the test stops it.
func Start(t testing.TB, o Options) *Engine {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Options: o, dir: dir}
	e.Process.Log = e.path("log")
	t.Cleanup(func() {
		e.Stop(t)
		if t.Failed() {
			t.Logf("the end of the engine's log:\n%s", e.tail())
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
	// dockerd waits 15 s for its containerd, which a loaded machine can exceed.
	if err != nil && strings.Contains(e.tail(), "timeout waiting for containerd to start") {
		t.Logf("start once more: %v", err)
		err = e.TryAgain()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, e.tail())
	}
}

// TryAgain is Again for an engine that may fail to start.
func (e *Engine) TryAgain() error {
	if err := e.configure(); err != nil {
		return err
	}
	err := e.start(e.ping)
	if err != nil {
		err = fmt.Errorf("storage driver %s: %w", e.Driver, err)
	}
	return err
}

// ping returns an error until the engine answers.
func (e *Engine) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	answer, err := e.Get(ctx, "/_ping")
	if err != nil {
		return err
	}
	return answer.Close()
}

// configure sets the arguments of dockerd.
func (e *Engine) configure() error {
	e.Args = []string{"dockerd", "--config-file", e.UsedConfig()}
	if e.ConfigFile == "" {
		return e.writeConfig()
	}
	flags, err := e.flags()
	e.Args = append(e.Args, flags...)
	return err
}

// flags returns the flags that the lab needs and ConfigFile does not set. dockerd
// refuses a setting that is both in the file and a flag.
func (e *Engine) flags() (flags []string, err error) {
	raw, err := os.ReadFile(e.ConfigFile)
	if err != nil {
		return nil, err
	}
	var set map[string]any
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	for _, flag := range [][2]string{
		{"data-root", e.Root}, {"exec-root", e.path("exec")}, {"pidfile", e.path("pid")}, {"containerd", e.Containerd},
		{"iptables", "false"}, {"ip6tables", "false"}, {"bridge", "none"}, {"shutdown-timeout", strconv.Itoa(shutdownTimeout)},
	} {
		if _, there := set[flag[0]]; !there && flag[1] != "" {
			flags = append(flags, "--"+flag[0]+"="+flag[1])
		}
	}
	return append(flags, "--host", e.Host()), nil
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

		"shutdown-timeout": shutdownTimeout,
	}
	if e.Containerd != "" {
		config["containerd"] = e.Containerd
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

// Stop asks the engine to end and waits for it.
func (e *Engine) Stop(t testing.TB) {
	t.Helper()
	if err := e.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// Kill ends the engine as a crash would. Its containers and plugins keep running.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	if err := e.end(syscall.SIGKILL); err != nil {
		t.Error(err)
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

// Command returns a docker command for the caller to run, with its own streams and
// environment.
func (e *Engine) Command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "DOCKER_CONFIG="+e.path("client"))
	return cmd
}

// Host returns the engine's address.
func (e *Engine) Host() string { return "unix://" + e.path("docker.sock") }

// UsedConfig returns the path of the daemon.json that the engine uses.
func (e *Engine) UsedConfig() string {
	if e.ConfigFile != "" {
		return e.ConfigFile
	}
	return e.path("daemon.json")
}

// CommandLinePlugins returns the directory where this engine's docker command looks for
// plugins.
func (e *Engine) CommandLinePlugins() string { return filepath.Join(e.path("client"), "cli-plugins") }

// LogFile returns the path of the engine's log.
func (e *Engine) LogFile() string { return e.Process.Log }

// Log returns what the engine has logged so far.
func (e *Engine) Log(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(e.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }
