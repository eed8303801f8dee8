//go:build vm

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// testStore is a store on a dataset, and a data-root in which Docker knows one of its
// layers.
type testStore struct {
	*testing.T
	dataset, root, home string
}

func newTestStore(t *testing.T) testStore {
	s := testStore{t, "tank/kept", t.TempDir(), ""}
	tool(t, "create", "-o", "mountpoint=legacy", s.dataset)
	t.Cleanup(func() { tool(t, "destroy", "-r", s.dataset) })
	home, err := os.MkdirTemp("/run", "kept-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(home) })
	s.home = home
	d := s.open()
	ctx := t.Context()
	limited := overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "32M"}}
	err = errors.Join(
		s.install(), d.BindEngine(nil, s.writeState),
		d.Create(ctx, id("1"), "", overlayzfs.CreateOptions{}), d.Create(ctx, id("2"), id("1"), overlayzfs.CreateOptions{}),
		d.Create(ctx, id("3"), id("2"), limited), d.Create(ctx, id("4"), id("1"), overlayzfs.CreateOptions{ReadWrite: true}),
		d.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	s.record(id("4"), digest.FromString("4"), "")
	return s
}

// install writes Docker's record of the plugin.
func (s testStore) install() error {
	dir := filepath.Join(s.root, "plugins", id("a"))
	record := fmt.Sprintf(`{"plugin":{"Id":%q,"Name":"overlayzfs:latest","Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`, id("a"))
	return errors.Join(os.MkdirAll(filepath.Join(dir, "propagated-mount"), 0o700), os.WriteFile(filepath.Join(dir, "config.json"), []byte(record), 0o600))
}

// writeState writes the plugin's state.
func (s testStore) writeState(tokens []string) error {
	raw, err := json.Marshal(map[string]any{"version": 1, "home": s.home, "tokens": tokens})
	return errors.Join(err, os.WriteFile(filepath.Join(s.root, "plugins", id("a"), "propagated-mount", plugin.StateName), raw, 0o600))
}

// open opens the store as the plugin does.
func (s testStore) open() *overlayzfs.Driver {
	s.Helper()
	o, err := plugin.StoreOptions([]string{"overlayzfs.dataset=" + s.dataset})
	if err != nil {
		s.Fatal(err)
	}
	d, err := overlayzfs.Open(s.Context(), s.home, o)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// record writes Docker's record of a base layer.
func (s testStore) record(cacheID string, diff digest.Digest, driver string) {
	s.Helper()
	if driver == "" {
		driver = "overlayzfs"
	}
	dir := filepath.Join(s.root, "image", driver, "layerdb/sha256", diff.Encoded())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	for name, content := range map[string]string{"cache-id": cacheID, "diff": string(diff), "size": "0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			s.Fatal(err)
		}
	}
}

// collect runs gc and returns its output.
func (s testStore) collect(code int, answer string, args ...string) string {
	s.Helper()
	return runCommand(s.T, code, answer, append([]string{"gc", "--dataset", s.dataset, "--root", s.root}, args...)...)
}

func (s testStore) planned(code int) gc.Plan {
	s.Helper()
	out := s.collect(code, "", "--dry-run", "--json")
	var plan gc.Plan
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&plan); err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
	return plan
}

// TestCollect removes orphaned layers, but only if it is confirmed and nobody has the
// store open.
func TestCollect(t *testing.T) {
	s := newTestStore(t)
	plan := s.planned(0)
	if len(plan.Layers) != 2 || plan.Layers[0].ID != id("3") || plan.Layers[1].ID != id("2") || plan.Remaining != 2 {
		t.Fatalf("%+v", plan)
	}
	s.collect(exitRefused, "no\n")

	s.planned(0) // a dry run locks nobody out
	open := s.open()
	if out := s.collect(exitRefused, "", "--yes"); !strings.Contains(out, "stop dockerd") {
		t.Errorf("beside an open store:\n%s", out)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}

	s.record(id("3"), digest.FromString("3"), "overlayzfs:latest")
	if plan := s.planned(0); len(plan.Layers) != 0 {
		t.Errorf("a layer known under another name would be removed: %+v", plan)
	}
	if err := os.RemoveAll(filepath.Join(s.root, "image/overlayzfs:latest")); err != nil {
		t.Fatal(err)
	}

	s.record(id("9"), digest.FromString("9"), "")
	if plan := s.planned(exitRefused); len(plan.Obstacles) != 1 {
		t.Errorf("records of another store: %+v", plan)
	}
	if err := os.RemoveAll(filepath.Join(s.root, "image/overlayzfs/layerdb/sha256", digest.FromString("9").Encoded())); err != nil {
		t.Fatal(err)
	}

	var done gcReport
	if out := s.collect(0, "", "--yes", "--json"); json.Unmarshal([]byte(out), &done) != nil || len(done.Removed) != 2 || len(done.Layers) != 2 {
		t.Errorf("%s", out)
	}
	if plan := s.planned(0); len(plan.Layers) != 0 || plan.Remaining != 2 {
		t.Errorf("%+v", plan)
	}
	open = s.open()
	layers, err := open.Layers(t.Context())
	if err := errors.Join(err, open.Close()); err != nil {
		t.Fatal(err)
	}
	if len(layers) != 2 {
		t.Errorf("left are %q", layers)
	}
	if left, err := filepath.Glob(filepath.Join(host.HomesDir, host.HomesPrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

// TestCollectSweepsDatasets of removed containers, without an orphaned layer.
func TestCollectSweepsDatasets(t *testing.T) {
	s := newTestStore(t)
	s.collect(0, "", "--yes")
	d := s.open()
	limited := overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: map[string]string{"size": "32M"}}
	// The end of the process destroys datasets that it made beforehand.
	err := errors.Join(d.Create(t.Context(), id("5"), id("1"), limited), d.Create(t.Context(), id("6"), id("1"), limited), d.Close())
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "snapshot", "-r", s.dataset+"@before")
	d = s.open()
	err = errors.Join(d.Remove(t.Context(), id("5")), d.Remove(t.Context(), id("6")), d.WaitReaper(t.Context()), d.Close())
	if err != nil {
		t.Fatal(err)
	}
	if out := s.collect(0, ""); !strings.Contains(out, "Destroyed 0 of 2 datasets") {
		t.Errorf("both are needed:\n%s", out)
	}
	tool(t, "destroy", "-r", s.dataset+"@before")
	s.planned(0) // a dry run destroys nothing
	if out := s.collect(0, ""); !strings.Contains(out, "Destroyed 2 of 2 datasets") {
		t.Errorf("none is needed:\n%s", out)
	}
	if out := s.collect(0, ""); strings.Contains(out, "Destroyed") {
		t.Errorf("nothing is left:\n%s", out)
	}
}

// TestCollectIsRefusedWhileMounted, as by a container that outlived dockerd and the
// plugin.
func TestCollectIsRefusedWhileMounted(t *testing.T) {
	s := newTestStore(t)
	d := s.open()
	if _, err := d.Get(t.Context(), id("2"), ""); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil { // leaves the mounts
		t.Fatal(err)
	}
	if plan := s.planned(exitRefused); len(plan.Obstacles) != 1 || !strings.Contains(plan.Obstacles[0], "is mounted on") {
		t.Errorf("%+v", plan)
	}
	d = s.open()
	if err := errors.Join(d.Cleanup(t.Context()), d.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCollectBelievesTheLastEngine uses the store from another data-root, then from this
// one again.
func TestCollectBelievesTheLastEngine(t *testing.T) {
	s := newTestStore(t)
	refused := func(word string) {
		t.Helper()
		if plan := s.planned(exitRefused); len(plan.Obstacles) != 1 || !strings.Contains(plan.Obstacles[0], word) || plan.Root != s.root {
			t.Errorf("%s: %+v", word, plan)
		}
	}
	engine := func(known []string, keep func([]string) error) {
		t.Helper()
		d := s.open()
		if err := errors.Join(d.BindEngine(known, keep), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	engine(nil, func([]string) error { return nil })
	refused("used the store last")
	engine([]string{"stale"}, s.writeState)
	refused("--only-root")
	if out := s.collect(0, "yes\n", "--only-root"); !strings.Contains(out, "Removed 2 layers.") || !strings.Contains(out, s.root) {
		t.Errorf("%s", out)
	}
	if plan := s.planned(0); len(plan.Layers) != 0 || plan.Remaining != 2 {
		t.Errorf("%+v", plan)
	}
}

// TestLookingCommands runs the commands that only look on a small store.
func TestLookingCommands(t *testing.T) {
	s := newTestStore(t)
	for _, command := range []string{"ls", "tree", "df", "ls --json", "df --json", "inspect " + id("3"), "inspect --json " + id("4")[:8]} {
		args := append(strings.Fields(command), "--dataset", s.dataset, "--root", s.root)
		t.Logf("%s\n%s", command, runCommand(t, 0, "", args...))
	}
	if out := runCommand(t, 0, "", "ls", "--dataset", s.dataset, "--root", s.root); !strings.Contains(out, "32MiB") {
		t.Errorf("the limit is not in\n%s", out)
	}
	runCommand(t, exitFailed, "", "inspect", "nothing", "--dataset", s.dataset, "--root", s.root)
	runCommand(t, exitFailed, "", "ls", "--dataset", "tank/none", "--root", s.root)
	runCommand(t, exitFailed, "", "ls", "--dataset", s.dataset, "--root", "/nowhere")
	runCommand(t, exitFailed, "", "ls", "--dataset", s.dataset, "--root", s.root, "--driver", "overlay2")
	// Docker's record of the layer's tar is missing: unproven.
	runCommand(t, exitWarning, "", "verify", "--dataset", s.dataset, "--root", s.root)
}
