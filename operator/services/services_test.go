package services

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// fake records what it is told.
type fake struct {
	properties map[string]any
	told       []string
	fails      string
}

func (f *fake) Properties(context.Context, string) (map[string]any, error) { return f.properties, nil }

func (f *fake) Do(_ context.Context, verb Verb, unit string) error {
	f.told = append(f.told, strings.TrimSpace(string(verb)+" "+unit))
	if unit == f.fails {
		return errors.New("it failed")
	}
	return nil
}

func TestState(t *testing.T) {
	for _, tt := range []struct {
		load, active, file string
		want               State
	}{
		{"loaded", "active", "enabled", State{true, true, true}},
		{"loaded", "failed", "disabled", State{Loaded: true}},
		{"not-found", "inactive", "", State{}},
		{"masked", "inactive", "masked", State{}},
		{"loaded", "activating", "static", State{Loaded: true, Active: true}},
	} {
		m := Manager{&fake{properties: map[string]any{"LoadState": tt.load, "ActiveState": tt.active, "UnitFileState": tt.file}}}
		if got, err := m.State(t.Context(), Docker); got != tt.want || err != nil {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
}

// TestVerbs are those that a person would type.
func TestVerbs(t *testing.T) {
	f := &fake{fails: Docker}
	m, ctx := Manager{f}, t.Context()
	if err := errors.Join(m.Reload(ctx), m.Enable(ctx, Snapshotter), m.Revert(ctx, Snapshotter, State{}), m.Revert(ctx, Containerd, State{Enabled: true, Active: true})); err != nil {
		t.Error(err)
	}
	if err := m.Restart(ctx, Docker); err == nil || !strings.Contains(err.Error(), "journalctl -u "+Docker) {
		t.Error(err)
	}
	const want = "daemon-reload, enable overlayzfs-snapshotter.service, restart overlayzfs-snapshotter.service, disable overlayzfs-snapshotter.service, " +
		"stop overlayzfs-snapshotter.service, restart containerd.service, restart docker.service"
	if got := strings.Join(f.told, ", "); got != want {
		t.Error(got)
	}
}
