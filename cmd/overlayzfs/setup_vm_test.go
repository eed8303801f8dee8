//go:build vm

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/host"
)

// joinValues puts the output of zfs(8) on one line. Since OpenZFS 2.3 it prints xattr=sa
// as "on".
func joinValues(printed string) string {
	return strings.Replace(strings.Join(strings.Fields(printed), " "), " on ", " sa ", 1)
}

// newHost makes a host without Docker: the path of a data-root, and a daemon.json.
func newHost(t *testing.T, parent string) (root, config string) {
	dir, err := os.MkdirTemp("/run", "host-")
	if err != nil {
		t.Fatal(err)
	}
	root, config = filepath.Join(dir, "docker"), filepath.Join(dir, "daemon.json")
	t.Cleanup(func() {
		if there(parent) {
			tool(t, "destroy", "-r", parent)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(config, []byte(`{"log-level": "warn", "x-mine": [1]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return root, config
}

func there(dataset string) bool { return exec.Command("zfs", "list", dataset).Run() == nil }

// shell runs a script and returns its output.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func steps(t *testing.T, out string) int {
	t.Helper()
	var plan host.Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return len(plan.Steps)
}

// TestSetup creates the layout and compares it with zfs(8) and the mount table. A second
// run has nothing to do, and a third repairs. The printed commands undo all of it.
func TestSetup(t *testing.T) {
	const parent = "tank/setup"
	root, config := newHost(t, parent)
	args := []string{"setup", parent, "--way", "plugin", "--root", root, "--config-file", config, "--sync", "disabled", "--opt", "overlayzfs.size=1G"}
	if n := steps(t, runCommand(t, 0, "", append(args, "--dry-run", "--json")...)); n != 6 {
		t.Errorf("%d steps", n)
	}
	if there(parent) {
		t.Fatal("a dry run made a dataset")
	}
	runCommand(t, exitRefused, "no\n", args...)
	out := runCommand(t, 0, "yes\n", args...)
	t.Log(out)
	if c, err := dockerconf.Read(config); err != nil || c.StorageDriver != "" || c.DataRoot != root {
		t.Errorf("without a plugin daemon.json has %+v, %v", c, err)
	}
	recordPlugin(t, root)
	more := runCommand(t, 0, "yes\n", args...)
	t.Log(more)
	for dataset, want := range map[string]string{
		parent:              root + " lz4 sa auto off 131072 standard yes",
		parent + "/layers":  "legacy lz4 sa auto off 131072 disabled no",
		parent + "/volumes": root + "/volumes lz4 sa auto off 131072 standard yes",
	} {
		got := shell(t, "zfs get -Hp -o value mountpoint,compression,xattr,dnodesize,atime,recordsize,sync,mounted "+dataset)
		if got := joinValues(got); got != want {
			t.Errorf("%s: %s, want %s", dataset, got, want)
		}
	}
	c, err := dockerconf.Read(config)
	if err != nil || c.StorageDriver != "overlayzfs" || !c.Experimental || c.DataRoot != root ||
		strings.Join(c.StorageOpts, " ") != "overlayzfs.dataset=tank/setup/layers overlayzfs.size=1G" {
		t.Errorf("%+v, %v", c, err)
	}
	if raw, err := os.ReadFile(config); err != nil || !strings.Contains(string(raw), `"log-level": "warn", "x-mine": [1]`) {
		t.Errorf("%s, %v", raw, err)
	}
	if out := runCommand(t, 0, "", args...); !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second time:\n%s", out)
	}
	tool(t, "set", "xattr=off", parent+"/layers")
	tool(t, "unmount", parent+"/volumes")
	tool(t, "unmount", parent)
	if n := steps(t, runCommand(t, 0, "", append(args, "--yes", "--json")...)); n != 3 {
		t.Errorf("%d steps mend it", n)
	}
	if got := shell(t, "zfs get -Ho value xattr "+parent+"/layers"); got == "off" {
		t.Errorf("xattr=%s", got)
	}
	undoSetup(t, more, out, config)
}

// recordPlugin writes Docker's record of an enabled plugin.
func recordPlugin(t *testing.T, root string) {
	t.Helper()
	id := strings.Repeat("a", 64)
	dir := filepath.Join(root, "plugins", id)
	record := `{"plugin":{"Id":"` + id + `","Name":"overlayzfs:latest","Enabled":true,"Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "config.json"), []byte(record), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// undoSetup runs the undo commands that two runs of setup printed, those of the second first.
func undoSetup(t *testing.T, second, first, config string) {
	t.Helper()
	for _, out := range []string{second, first} {
		_, list, _ := strings.Cut(out, "with dockerd stopped:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		shell(t, list)
	}
	if raw, err := os.ReadFile(config); err != nil || string(raw) != `{"log-level": "warn", "x-mine": [1]}` {
		t.Errorf("%s, %v", raw, err)
	}
	if there("tank/setup") {
		t.Error("the datasets are left")
	}
}

// TestSetupRefuses to lose or hide data.
func TestSetupRefuses(t *testing.T) {
	const parent = "tank/refused"
	root, config := newHost(t, parent)
	dir := filepath.Join(root, "mine")
	tool(t, "create", "-o", "mountpoint="+dir, parent)
	args := []string{"setup", "--dataset", parent, "--way", "plugin", "--root", root, "--config-file", config, "--yes"}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := runCommand(t, exitRefused, "", args...); !strings.Contains(out, "not a store of layers") {
		t.Errorf("%s", out)
	}
	if out := runCommand(t, exitRefused, "", append([]string{"setup", parent}, args[3:]...)...); !strings.Contains(out, "mountpoint") {
		t.Errorf("%s", out)
	}
	if err := os.WriteFile(config, []byte("{\n  \"a\": 1,\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := runCommand(t, exitFailed, "", append([]string{"setup", parent + "/new"}, args[3:]...)...); !strings.Contains(out, "line 3, column 1") {
		t.Errorf("%s", out)
	}
}
