// Package services starts and stops the services of a host by its systemd, with systemctl.
package services

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The units that setup starts and restarts.
const (
	Docker      = "docker.service"
	Containerd  = "containerd.service"
	Snapshotter = "overlayzfs-snapshotter.service"
	Kubelet     = "kubelet.service"
)

// runningDir exists while systemd is the host's init.
const runningDir = "/run/systemd/system"

// Manager is the systemd that runs the host.
type Manager struct {
	// Run runs systemctl and returns its output. Tests set it.
	Run func(ctx context.Context, args ...string) (string, error)
}

// Find returns the host's systemd, or nil when the host has another init.
func Find() *Manager {
	if fi, err := os.Stat(runningDir); err != nil || !fi.IsDir() {
		return nil
	}
	program, err := exec.LookPath("systemctl")
	if err != nil {
		return nil
	}
	return &Manager{func(ctx context.Context, args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
		return string(out), err
	}}
}

// State is that of a unit.
type State struct {
	Loaded  bool // its file is there
	Enabled bool // it starts at boot
	Active  bool // it runs
}

// State returns the state of a unit. One that does not exist has the zero State.
func (m *Manager) State(ctx context.Context, unit string) (s State, err error) {
	out, err := m.Run(ctx, "show", "--property=LoadState", "--property=UnitFileState", "--property=ActiveState", unit)
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		switch key, value, _ := strings.Cut(lines.Text(), "="); key {
		case "LoadState":
			s.Loaded = value == "loaded"
		case "UnitFileState":
			s.Enabled = value == "enabled"
		case "ActiveState":
			s.Active = value == "active" || value == "reloading" || value == "activating"
		}
	}
	return s, err
}

// Reload makes systemd read the files of units again.
func (m *Manager) Reload(ctx context.Context) error { return m.do(ctx, "daemon-reload") }

// Restart starts units again, in the order given, or starts those that do not run.
func (m *Manager) Restart(ctx context.Context, units ...string) error {
	for _, unit := range units {
		if err := m.do(ctx, "restart", unit); err != nil {
			return fmt.Errorf("%w (`journalctl -u %s` shows why)", err, unit)
		}
	}
	return nil
}

// Enable starts a unit now and at every boot.
func (m *Manager) Enable(ctx context.Context, unit string) error {
	return m.do(ctx, "enable", "--now", unit)
}

// Revert gives a unit the state that it had before Enable.
func (m *Manager) Revert(ctx context.Context, unit string, before State) error {
	if !before.Enabled {
		if err := m.do(ctx, "disable", unit); err != nil {
			return err
		}
	}
	if before.Active {
		return m.Restart(ctx, unit)
	}
	return m.do(ctx, "stop", unit)
}

func (m *Manager) do(ctx context.Context, args ...string) error {
	_, err := m.Run(ctx, args...)
	return err
}
