// Package services starts and stops the services of a host by its systemd. It talks to systemd
// itself, as systemctl does, and starts no program.
package services

import (
	"context"
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/dbus"
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

// State is that of a unit.
type State struct {
	Loaded  bool // its file is there
	Enabled bool // it starts at boot
	Active  bool // it runs
}

// Verb is what a unit is told to do.
type Verb string

// The verbs, as systemctl has them.
const (
	reload  Verb = "daemon-reload"
	restart Verb = "restart"
	stop    Verb = "stop"
	enable  Verb = "enable"
	disable Verb = "disable"
)

// Systemd is what the Manager asks of systemd. Tests have another one.
type Systemd interface {
	// Properties returns the properties of a unit, which need not exist.
	Properties(ctx context.Context, unit string) (map[string]any, error)
	// Do returns when it is done. The unit is empty for reload.
	Do(ctx context.Context, verb Verb, unit string) error
}

// Manager is the systemd that runs the host.
type Manager struct{ Systemd Systemd }

// Find returns the host's systemd, or nil when the host has another init.
func Find() *Manager {
	if fi, err := os.Stat(runningDir); err != nil || !fi.IsDir() {
		return nil
	}
	return &Manager{private{}}
}

// State returns the state of a unit. One that does not exist has the zero State.
func (m *Manager) State(ctx context.Context, unit string) (s State, err error) {
	properties, err := m.Systemd.Properties(ctx, unit)
	if err != nil {
		return s, fmt.Errorf("ask systemd for %s: %w", unit, err)
	}
	active := properties["ActiveState"]
	return State{
		Loaded: properties["LoadState"] == "loaded", Enabled: properties["UnitFileState"] == "enabled",
		Active: active == "active" || active == "reloading" || active == "activating",
	}, nil
}

// Reload makes systemd read the files of units again.
func (m *Manager) Reload(ctx context.Context) error { return m.do(ctx, reload, "") }

// Restart starts a unit again, or starts one that does not run. It returns when the unit is ready.
func (m *Manager) Restart(ctx context.Context, unit string) error { return m.do(ctx, restart, unit) }

// Enable starts a unit now and at every boot.
func (m *Manager) Enable(ctx context.Context, unit string) error {
	for _, verb := range []Verb{enable, restart} {
		if err := m.do(ctx, verb, unit); err != nil {
			return err
		}
	}
	return nil
}

// Revert gives a unit the state that it had before Enable.
func (m *Manager) Revert(ctx context.Context, unit string, before State) error {
	if !before.Enabled {
		if err := m.do(ctx, disable, unit); err != nil {
			return err
		}
	}
	if before.Active {
		return m.Restart(ctx, unit)
	}
	return m.do(ctx, stop, unit)
}

func (m *Manager) do(ctx context.Context, verb Verb, unit string) error {
	err := m.Systemd.Do(ctx, verb, unit)
	if err != nil && unit != "" {
		return fmt.Errorf("%s %s: %w (`journalctl -u %s` shows why)", verb, unit, err, unit)
	}
	return err
}

// private is systemd's own socket, which root can use without a message bus.
type private struct{}

func (private) Properties(ctx context.Context, unit string) (map[string]any, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.GetUnitPropertiesContext(ctx, unit)
}

func (private) Do(ctx context.Context, verb Verb, unit string) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("ask systemd: %w", err)
	}
	defer conn.Close()
	switch verb {
	case restart:
		// Restarts that a person asks for do not count as those of a unit that fails. It is an error
		// for a unit that systemd has not loaded, whose restarts do not count.
		_ = conn.ResetFailedUnitContext(ctx, unit)
		return awaitJob(ctx, func(ended chan<- string) (int, error) {
			return conn.RestartUnitContext(ctx, unit, "replace", ended)
		})
	case stop:
		return awaitJob(ctx, func(ended chan<- string) (int, error) {
			return conn.StopUnitContext(ctx, unit, "replace", ended)
		})
	case enable:
		_, _, err = conn.EnableUnitFilesContext(ctx, []string{unit}, false, false)
	case disable:
		_, err = conn.DisableUnitFilesContext(ctx, []string{unit}, false)
	}
	if err != nil {
		return err
	}
	return conn.ReloadContext(ctx)
}

// awaitJob starts a job of systemd and waits for its end.
func awaitJob(ctx context.Context, start func(ended chan<- string) (int, error)) error {
	ended := make(chan string, 1)
	if _, err := start(ended); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-ended:
		if result != "done" {
			return fmt.Errorf("the job's result is %q", result)
		}
		return nil
	}
}
