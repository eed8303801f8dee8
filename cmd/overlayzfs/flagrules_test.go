package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
)

// TestFlagRules checks that each rule refuses its flag by name and says what to do.
func TestFlagRules(t *testing.T) {
	for command, rules := range rules {
		for _, r := range rules {
			args := append(pathOf(command), giveFlag(t, command, r.flag)...)
			if command == "rollback" || command == "restore" || command == "limit" || command == "push" {
				args = append(args, "x")
			}
			other := r.without
			if r.with != "" {
				args, other = append(args, giveFlag(t, command, r.with)...), r.with
			}
			var out bytes.Buffer
			code := run(t.Context(), args, testConsole(t, &out))
			if says := out.String(); code != exitUsage || !strings.Contains(says, "--"+r.flag+" means nothing with") || !strings.Contains(says, "--"+other+": "+r.instead) {
				t.Errorf("%q exits with %d and says %q", args, code, says)
			}
		}
	}
}

// TestDatasetRules refuses flags beside a dataset, be it in the environment or in a
// snapshot's name.
func TestDatasetRules(t *testing.T) {
	for _, tt := range []struct{ env, args, says string }{
		{"", "rollback tank/a@x --root /srv/docker", "--root means nothing with tank/a@x"},
		{"", "rollback tank/a@x --driver y", "--driver means nothing with tank/a@x"},
		{"tank/a", "rollback x --root /srv/docker", "--root means nothing with OVERLAYZFS_DATASET in the environment"},
		{"tank/a", "snapshots --config-file /srv/daemon.json", "--config-file means nothing with OVERLAYZFS_DATASET"},
		{"", "rollback @x --root /nowhere", "no store found"},
		{"", "rollback x --root /nowhere", "no store found"},
	} {
		var out bytes.Buffer
		c := testConsole(t, &out)
		c.getenv = func(name string) string { return map[string]string{datasetEnv: tt.env}[name] }
		if code := run(t.Context(), strings.Fields(tt.args), c); code != exitUsage || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s exits with %d and says %q", tt.args, code, out.String())
		}
	}
}

// pathOf returns the words that name a command.
func pathOf(command string) []string {
	if command == "push" {
		return []string{"plugin", "push"}
	}
	return []string{command}
}

// giveFlag returns a flag with a value other than its default.
func giveFlag(t *testing.T, command, name string) []string {
	t.Helper()
	c, _, err := rootCommand(testConsole(t, &bytes.Buffer{})).Find(pathOf(command))
	if err != nil {
		t.Fatal(err)
	}
	switch flag := c.Flag(name); {
	case flag == nil:
		t.Fatalf("%s has no --%s", command, name)
	case flag.Value.Type() == "bool":
		return []string{"--" + name}
	case name == "columns":
		return []string{"--columns", flag.Value.(choice).known[0]}
	}
	return []string{"--" + name, "tank/x"}
}

// TestDefaultValueIsNotIgnored: a flag with its default value breaks no rule.
func TestDefaultValueIsNotIgnored(t *testing.T) {
	for _, args := range []string{"receive --finish --input -", "migrate --back=false --reclaim --dry-run"} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), testConsole(t, &out)); code != exitUsage || !strings.Contains(out.String(), "--dataset") || strings.Contains(out.String(), "means nothing") {
			t.Errorf("%s exits with %d and says %q", args, code, out.String())
		}
	}
}

// TestRequireSameNames refuses names that the migration does not use: a resumed one has
// its datasets and daemon.json in its journal, and only the driver zfs has datasets.
func TestRequireSameNames(t *testing.T) {
	begun := migrate.Job{Phase: migrate.Carrying, Method: migrate.Copy, From: "zfs", To: "overlayzfs", Dataset: "tank/layers", ZFSDataset: "tank/docker"}
	fromVFS := migrate.Job{Method: migrate.Copy, From: "vfs", To: "overlayzfs", Dataset: "tank/layers"}
	for _, tt := range []struct {
		flags   migrateFlags
		job     migrate.Job
		resumed bool
		says    string
	}{
		{migrateFlags{storeFlags: &storeFlags{}}, begun, true, ""},
		{migrateFlags{zfsDataset: "tank/docker", storeFlags: &storeFlags{dataset: "tank/layers"}}, begun, true, ""},
		{migrateFlags{zfsDataset: "tank/other", storeFlags: &storeFlags{}}, begun, true, "on tank/docker"},
		{migrateFlags{zfsDataset: "tank/other", storeFlags: &storeFlags{}}, fromVFS, false, "from vfs to overlayzfs has no layers of the driver zfs"},
		{migrateFlags{storeFlags: &storeFlags{dataset: "tank/other"}}, begun, true, "has the plugin's layers on tank/layers"},
		{migrateFlags{storeFlags: &storeFlags{dataset: "tank/other"}, undo: true}, begun, true, ""},
		{migrateFlags{storeFlags: &storeFlags{wanted: host.Overrides{Config: "/etc/docker/daemon.json"}, config: "/etc/docker/daemon.json"}}, begun, true, ""},
		{migrateFlags{storeFlags: &storeFlags{wanted: host.Overrides{Config: "/srv/daemon.json"}, config: "/etc/docker/daemon.json"}}, begun, true, ""},
		{migrateFlags{storeFlags: &storeFlags{wanted: host.Overrides{Config: "/srv/other.json"}}, undo: true}, begun, true, "changes /srv/daemon.json"},
		{migrateFlags{storeFlags: &storeFlags{wanted: host.Overrides{Config: "/srv/other.json"}}}, fromVFS, false, ""},
		{migrateFlags{storeFlags: &storeFlags{dataset: "tank/other"}}, migrate.Job{Method: migrate.Move, From: "overlay2", To: "overlayzfs"}, true, "in the data-root"},
	} {
		plan := &migrate.Plan{Job: tt.job, Resumed: tt.resumed}
		plan.Job.Config = "/srv/daemon.json"
		tt.flags.requireSameNames(plan)
		if err := plan.CheckObstacles(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.flags, err)
		}
	}
}
