package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
)

func aPlan(way migrate.Method) *migrate.Plan {
	return &migrate.Plan{
		Root: "/var/lib/docker", Images: 8, Layers: 25, Containers: 5, Bytes: 3 << 30, Available: 100 << 30,
		Job: migrate.Job{Method: way, From: "zfs", To: "overlayzfs", Layers: "zfs", Dataset: "tank/layers", Config: "/etc/docker/daemon.json"},
	}
}

func TestWriteMigration(t *testing.T) {
	move := aPlan(migrate.Move)
	move.Job.From, move.Job.Layers, move.Job.Dataset, move.Job.Target = "overlay2", "overlay2", "", "plugins/0a1b/propagated-mount/overlayzfs"
	move.Notes = []string{"containers of the driver vfs, 0a1b2c3d4e5f for one, stay as they are"}
	stay := aPlan(migrate.Stay)
	stay.Job.From, stay.Job.Config = "overlay2", ""
	begun := aPlan(migrate.Copy)
	begun.Resumed, begun.Job.Phase = true, migrate.Carrying
	refused := aPlan(migrate.Copy)
	refused.Obstacles = []string{"dockerd is running on /var/lib/docker: stop it", "container 0a1b2c3d4e5f has a limit"}
	shared := aPlan(migrate.Copy)
	shared.Job.Share, shared.Job.Reclaim = true, true
	done := aPlan(migrate.Copy)
	done.Resumed, done.Job.Phase, done.Driver = true, migrate.Done, "overlayzfs"
	back := aPlan(migrate.Copy)
	back.Job.From, back.Job.To, back.Job.ZFSDataset = "overlayzfs", "zfs", "tank/docker"
	imported := aPlan(migrate.Import)
	imported.ContentBytes, imported.ContentAvailable = 2<<30, 50<<30
	imported.Job.ImageStore = &imagestore.Target{Address: "/run/containerd/containerd.sock", Namespace: "moby", Snapshotter: "overlayzfs"}
	var out bytes.Buffer
	for _, shown := range []struct {
		plan   *migrate.Plan
		action migrate.Action
	}{
		{aPlan(migrate.Copy), migrate.ActionMigrate}, {move, migrate.ActionMigrate}, {stay, migrate.ActionMigrate}, {shared, migrate.ActionMigrate}, {begun, migrate.ActionMigrate}, {refused, migrate.ActionMigrate},
		{back, migrate.ActionMigrate}, {back, migrate.ActionFinish}, {done, migrate.ActionUndo}, {move, migrate.ActionUndo}, {done, migrate.ActionFinish}, {move, migrate.ActionFinish},
		{imported, migrate.ActionMigrate}, {imported, migrate.ActionUndo}, {imported, migrate.ActionFinish},
	} {
		if err := writeMigration(&out, shown.plan, shown.action); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "migrate.txt", out.String())
	out.Reset()
	if err := writeJSON(&out, refused); err != nil {
		t.Fatal(err)
	}
	golden(t, "migrate.json", out.String())
}

// TestUndoWithoutPaths: a journal without paths has no directory to rename back.
func TestUndoWithoutPaths(t *testing.T) {
	plan := &migrate.Plan{Job: migrate.Job{Method: migrate.Move, From: "overlay2", To: "overlayzfs"}}
	for _, step := range undoSteps(plan) {
		if strings.Contains(step, "rename") {
			t.Errorf("the step %q", step)
		}
	}
}

// TestRequirePlugin: the plugin has to be installed and enabled.
func TestRequirePlugin(t *testing.T) {
	dir := t.TempDir()
	root, config := filepath.Join(dir, "docker"), filepath.Join(dir, "daemon.json")
	record := filepath.Join(root, "plugins", strings.Repeat("a", 64), "config.json")
	image := filepath.Join(root, "image/vfs/imagedb/content/sha256", strings.Repeat("b", 64))
	for _, path := range []string{record, image} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(image, "x")
	for name, tt := range map[string]struct{ daemon, enabled, says string }{
		"Disabled": {`{"data-root":%q}`, "false", "docker plugin enable overlayzfs:latest"},
		"Remapped": {`{"data-root":%q,"userns-remap":"default"}`, "true", "userns-remap"},
	} {
		t.Run(name, func(t *testing.T) {
			write(config, fmt.Sprintf(tt.daemon, root))
			write(record, fmt.Sprintf(`{"plugin":{"Id":%q,"Name":"overlayzfs:latest","Enabled":%s,"Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`, strings.Repeat("a", 64), tt.enabled))
			where, err := host.FindStore(host.Overrides{Config: config, New: true})
			if err != nil {
				t.Fatal(err)
			}
			plan := &migrate.Plan{}
			(&migrateFlags{}).requirePlugin(plan, where)
			if err := plan.CheckObstacles(); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
	where := host.Location{Driver: "overlayzfs", Root: root}
	plan := &migrate.Plan{}
	(&migrateFlags{}).requirePlugin(plan, where)
	if err := plan.CheckObstacles(); err == nil || !strings.Contains(err.Error(), "docker plugin install") {
		t.Errorf("not installed: %v", err)
	}
}

// TestMigrationToAnotherDatasetIsRefused: dockerd would start with the plugin's own dataset,
// on which nothing is.
func TestMigrationToAnotherDatasetIsRefused(t *testing.T) {
	plugin := &dockerstore.Plugin{Name: "overlayzfs:latest", Enabled: true}
	for dataset, options := range map[string][]string{
		"tank/a": {"overlayzfs.dataset=tank/b"}, "tank/b": {"overlayzfs.dataset=tank/b", "overlayzfs.sync=standard"}, "tank/c": nil, "": nil,
	} {
		for _, resumed := range []bool{false, true} {
			plan := &migrate.Plan{Resumed: resumed}
			(&migrateFlags{}).requirePlugin(plan, host.Location{Driver: "overlayzfs", Plugin: plugin, Dataset: dataset, Options: options})
			refused := !resumed && (dataset == "tank/a" || dataset == "tank/c")
			if err := plan.CheckObstacles(); dataset != "" && ((err != nil) != refused || refused && !strings.Contains(err.Error(), "overlayzfs.dataset="+dataset)) {
				t.Errorf("%q with %q, resumed %v: %v", dataset, options, resumed, err)
			}
		}
	}
}

// TestMigrationIntoThePlugin: the layers would go with the plugin.
func TestMigrationIntoThePlugin(t *testing.T) {
	where := host.Location{Driver: "overlayzfs", Plugin: &dockerstore.Plugin{Name: "overlayzfs:latest", Enabled: true}, Home: "/docker/plugins/a/overlayzfs"}
	for _, tt := range []struct {
		accepted, resumed, refused bool
	}{{false, false, true}, {true, false, false}, {false, true, false}} {
		plan := &migrate.Plan{Resumed: tt.resumed}
		(&migrateFlags{inPlace: tt.accepted}).requirePlugin(plan, where)
		if err := plan.CheckObstacles(); (err != nil) != tt.refused || tt.refused && (!strings.Contains(err.Error(), "--in-place") || !strings.Contains(err.Error(), where.Home)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	for _, f := range []migrateFlags{{back: true}, {undo: true}, {finish: true}} {
		plan := &migrate.Plan{}
		if f.requirePlugin(plan, where); plan.CheckObstacles() != nil {
			t.Errorf("%+v: %v", f, plan.Obstacles)
		}
	}
}

// TestLocateStore in both directions.
func TestLocateStore(t *testing.T) {
	forward := migrate.Job{Method: migrate.Copy, From: "vfs", To: "overlayzfs", Layers: "vfs", Target: "plugins/a/overlayzfs"}
	back := migrate.Job{Method: migrate.Copy, From: "overlayzfs", To: "zfs", Layers: "plugins/a/overlayzfs", ZFSDataset: "tank/docker"}
	moved := migrate.Job{Method: migrate.Move, From: "overlayzfs", To: "overlay2", Layers: "plugins/a/overlayzfs", Target: "overlay2"}
	for _, job := range []migrate.Job{forward, back, moved} {
		got := locateStore(&migrate.Plan{Root: "/data", Job: job}, host.Location{Home: "/elsewhere", Dataset: "tank/now"})
		if got.Home != "/data/plugins/a/overlayzfs" || got.Dataset != "" {
			t.Errorf("%+v: %+v", job, got)
		}
	}
	forward.Dataset = "tank/layers"
	if got := locateStore(&migrate.Plan{Job: forward}, host.Location{}); got.Dataset != "tank/layers" {
		t.Errorf("%+v", got)
	}
}

// TestNothingToUndo checks the exit code and the error, and that nothing changes.
func TestNothingToUndo(t *testing.T) {
	root := t.TempDir()
	for _, flag := range []string{"--undo", "--finish"} {
		var out bytes.Buffer
		c := testConsole(t, &out)
		if code := run(t.Context(), []string{"migrate", flag, "--yes", "--root", root, "--dataset", "tank/none"}, c); code != exitFailed || !strings.Contains(out.String(), "no migration is under way") {
			t.Errorf("%s exits with %d and says %q", flag, code, out.String())
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestToSnapshotterFlags: flags that mean nothing on the way to the snapshotter are refused, and
// without a containerd nothing changes.
func TestToSnapshotterFlags(t *testing.T) {
	root := t.TempDir()
	for args, says := range map[string]string{
		"--to snapshotter --back": "leave it out", "--to snapshotter --reclaim": "--reclaim cannot be combined",
		"--to snapshotter --in-place": "leave it out", "--to zfs": "means nothing without --back",
		"--to snapshotter --undo": "leave --to out", "--to snapshotter --finish": "leave --to out",
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"migrate", "--yes"}, strings.Fields(args)...), testConsole(t, &out)); code != exitUsage || !strings.Contains(out.String(), says) {
			t.Errorf("%s exits with %d and says %q", args, code, out.String())
		}
	}
	image := filepath.Join(root, "image/vfs/imagedb/content/sha256", strings.Repeat("b", 64))
	config := filepath.Join(root, "daemon.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(image), 0o755), os.WriteFile(image, []byte("x"), 0o600),
		os.WriteFile(config, fmt.Appendf(nil, `{"containerd": %q}`, filepath.Join(root, "containerd.sock")), 0o600)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"migrate", "--to", "snapshotter", "--yes", "--root", root, "--config-file", config}, testConsole(t, &out))
	if code == 0 || !strings.Contains(out.String(), "containerd does not answer on "+root) {
		t.Errorf("without containerd it exits with %d and says %q", code, out.String())
	}
	if _, err := os.Stat(filepath.Join(root, "overlayzfs-migrate")); err == nil {
		t.Error("there is a journal")
	}
}

// TestLimitsAreAskedFor before a container's layer is copied.
func TestLimitsAreAskedFor(t *testing.T) {
	dir := t.TempDir()
	f := migrateFlags{snapshotter: filepath.Join(dir, "snapshotter.toml")}
	socket := filepath.Join(dir, "s.sock")
	if err := os.WriteFile(f.snapshotter, fmt.Appendf(nil, "socket = %q\n", socket), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.askLimits(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer on "+socket) {
		t.Errorf("%v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := f.askLimits(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestResumedMigration continues by its journal.
func TestResumedMigration(t *testing.T) {
	root := t.TempDir()
	raw, err := json.Marshal(migrate.Job{Version: 2, Phase: migrate.Finishing, Method: migrate.Move, From: "overlay2", To: "overlayzfs"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "overlayzfs-migrate"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "overlayzfs-migrate/journal.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(code int, words string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		got := run(t.Context(), append([]string{"migrate", "--yes", "--root", root, "--dataset", "tank/none"}, args...), testConsole(t, &out))
		if got != code || !strings.Contains(out.String(), words) {
			t.Errorf("%v exits with %d and says %q", args, got, out.String())
		}
	}
	check(exitRefused, "continue with `overlayzfs migrate --finish`")
	check(exitRefused, "are being deleted", "--undo")
	check(0, "Finished", "--finish")
	check(exitFailed, "no migration is under way", "--finish")
}
