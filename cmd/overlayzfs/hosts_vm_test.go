//go:build vm

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

// TestSetupOfALinkedDataRoot makes the datasets for the directory that the link leads to, as it
// is on hosts with Docker on another disk.
func TestSetupOfALinkedDataRoot(t *testing.T) {
	const parent = "tank/linked"
	root, config := newHost(t, parent)
	link := filepath.Join(t.TempDir(), "docker")
	if err := errors.Join(os.MkdirAll(root, 0o755), os.Symlink(root, link)); err != nil {
		t.Fatal(err)
	}
	args := []string{"setup", parent, "--way", "plugin", "--root", link, "--config-file", config, "--yes"}
	runCommand(t, 0, "", args...)
	if got := strings.TrimSpace(shell(t, "findmnt -n -o SOURCE "+root)); got != parent {
		t.Errorf("on %s is %s", root, got)
	}
	if got := strings.TrimSpace(shell(t, "zfs get -Ho value mountpoint "+parent+"/volumes")); got != root+"/volumes" {
		t.Errorf("volumes are mounted on %s", got)
	}
	if out := runCommand(t, 0, "", args...); !strings.Contains(out, "Nothing to do before the next steps") {
		t.Errorf("a second time:\n%s", out)
	}
	if c, err := dockerconf.Read(config); err != nil || c.DataRoot != root {
		t.Errorf("%+v, %v", c, err)
	}
	name := strings.TrimSpace(runCommand(t, 0, "", "snapshot", "--dataset", parent+"/layers", "--records", parent))
	makeDirs(t, root+"/volumes/db/_data")
	makeDirs(t, root+"/since")
	out := runCommand(t, 0, "", "rollback", name, "--dataset", parent+"/layers", "--yes")
	if _, err := os.Stat(link + "/since"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(out, "Volumes that kept their content: db") {
		t.Errorf("after the rollback: %v\n%s", err, out)
	}
}

// TestRollbackUnderAnotherName: the records dataset of the snapshot has another name now.
func TestRollbackUnderAnotherName(t *testing.T) {
	const parent, renamed = "tank/old", "tank/new"
	root, config := newHost(t, parent)
	args := []string{"--root", root, "--config-file", config, "--yes"}
	runCommand(t, 0, "", append([]string{"setup", parent, "--way", "plugin"}, args...)...)
	tryStore(t, parent+"/layers")
	name := strings.TrimSpace(runCommand(t, 0, "", "snapshot", "--dataset", parent+"/layers", "--records", parent))
	makeDirs(t, root+"/since")
	tool(t, "rename", parent, renamed)
	t.Cleanup(func() { tool(t, "rename", renamed, parent) })
	back := []string{"rollback", name, "--dataset", renamed + "/layers", "--yes"}
	if out := runCommand(t, exitRefused, "", back...); !strings.Contains(out, "--records") {
		t.Errorf("without the new name:\n%s", out)
	}
	out := runCommand(t, 0, "", append(back, "--records", renamed)...)
	if _, err := os.Stat(root + "/since"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(out, renamed+"  (Docker's data-root)") {
		t.Errorf("after the rollback: %v\n%s", err, out)
	}
	if out := runCommand(t, 0, "", "snapshots", "destroy", name, "--dataset", renamed+"/layers", "--yes"); there(renamed+"@"+name) || there(renamed+"/layers@"+name) {
		t.Errorf("the snapshot is left:\n%s", out)
	}
}

// TestLayersThatSomebodyHolds are not destroyed, and nothing else of the host changes.
func TestLayersThatSomebodyHolds(t *testing.T) {
	const layers = "tank/held"
	root, config := newHost(t, layers)
	args := []string{"--dataset", layers, "--root", root, "--config-file", config, "--yes"}
	runCommand(t, 0, "", append([]string{"setup", "--way", "plugin"}, args...)...)
	tryStore(t, layers)
	if err := os.WriteFile(config, []byte(`{"storage-driver": "overlayzfs"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	remove := append([]string{"setup", "--remove", "--layers"}, args...)
	tool(t, "snapshot", layers+"@theirs")
	tool(t, "bookmark", layers+"@theirs", layers+"#theirs")
	refused := func(want string) {
		t.Helper()
		if out := runCommand(t, exitRefused, "", remove...); !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
		if raw, err := os.ReadFile(config); err != nil || !strings.Contains(string(raw), "overlayzfs") || !there(layers+"@theirs") {
			t.Errorf("daemon.json is %s, %v", raw, err)
		}
	}
	tool(t, "hold", "keep", layers+"@theirs")
	refused("zfs holds " + layers + "@theirs")
	tool(t, "release", "keep", layers+"@theirs")
	tool(t, "clone", "-o", "mountpoint=none", layers+"@theirs", "tank/held-clone")
	refused("has 1 clones")
	tool(t, "destroy", "tank/held-clone")
	// The snapshotter leaves its dataset mounted.
	elsewhere := t.TempDir()
	shell(t, "mount -i -t zfs "+layers+" "+elsewhere)
	runCommand(t, 0, "", remove...)
	if there(layers) {
		t.Error("the layers are left")
		shell(t, "umount "+elsewhere)
	}
}

// TestLayersAreFoundByTheirProperty: neither Docker's configuration nor a flag names the dataset.
// A backup of another host's layers has the property, too, and is not taken for this host's.
func TestLayersAreFoundByTheirProperty(t *testing.T) {
	const layers, copied = "tank/unnamed", "tank/copied"
	root, config := newHost(t, layers)
	args := []string{"--root", root, "--config-file", config, "--yes"}
	runCommand(t, 0, "", append([]string{"setup", "--way", "plugin", "--dataset", layers}, args...)...)
	tool(t, "snapshot", layers+"@sent")
	shell(t, "zfs send -p "+layers+"@sent | zfs receive -u "+copied)
	defer tool(t, "destroy", "-r", copied)
	if source := strings.TrimSpace(shell(t, "zfs get -Ho value,source overlayzfs:role "+copied)); source != "layers\treceived" {
		t.Fatalf("the copy has the property %q", source)
	}
	remove := append([]string{"setup", "--remove", "--layers"}, args...)
	tool(t, "set", "overlayzfs:role=layers", copied)
	if out := runCommand(t, exitUsage, "", remove...); !strings.Contains(out, layers) || !strings.Contains(out, copied) || !there(layers) {
		t.Errorf("with two of them it says\n%s", out)
	}
	tool(t, "inherit", "-S", "overlayzfs:role", copied)
	runCommand(t, 0, "", remove...)
	if there(layers) || !there(copied) {
		t.Errorf("the layers are there: %t, the copy is: %t", there(layers), there(copied))
	}
}
