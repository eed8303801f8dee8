package services

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestState(t *testing.T) {
	for out, want := range map[string]State{
		"LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n":    {true, true, true},
		"LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\n":   {Loaded: true},
		"LoadState=not-found\nActiveState=inactive\nUnitFileState=\n":      {},
		"LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n":   {},
		"LoadState=loaded\nActiveState=activating\nUnitFileState=static\n": {Loaded: true, Active: true},
	} {
		m := Manager{func(context.Context, ...string) (string, error) { return out, nil }}
		if got, err := m.State(t.Context(), Docker); got != want || err != nil {
			t.Errorf("%q: %+v, %v", out, got, err)
		}
	}
}

// TestCommands are those that a person would type.
func TestCommands(t *testing.T) {
	var commands []string
	m := Manager{func(_ context.Context, args ...string) (string, error) {
		commands = append(commands, strings.Join(args, " "))
		if args[0] == "restart" && args[1] == Docker {
			return "", errors.New("it failed")
		}
		return "", nil
	}}
	ctx := t.Context()
	if err := errors.Join(m.Reload(ctx), m.Enable(ctx, Snapshotter), m.Revert(ctx, Snapshotter, State{}), m.Revert(ctx, Containerd, State{Enabled: true, Active: true})); err != nil {
		t.Error(err)
	}
	if err := m.Restart(ctx, Docker, Containerd); err == nil || !strings.Contains(err.Error(), "journalctl -u "+Docker) {
		t.Error(err)
	}
	const want = "daemon-reload, enable --now overlayzfs-snapshotter.service, disable overlayzfs-snapshotter.service, stop overlayzfs-snapshotter.service, restart containerd.service, restart docker.service"
	if got := strings.Join(commands, ", "); got != want {
		t.Error(got)
	}
}
