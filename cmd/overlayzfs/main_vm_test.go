//go:build vm

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// runCommand runs the command, answers its question, and returns its output.
func runCommand(t *testing.T, code int, answer string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := testConsole(t, &out)
	c.in = strings.NewReader(answer)
	if got := run(t.Context(), args, c); got != code {
		t.Fatalf("%v exits with %d, want %d:\n%s", args, got, code, out.String())
	}
	return out.String()
}

func tool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("zfs %v: %v\n%s", args, err, out)
	}
}

func makeDirs(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotAndRollback runs the commands as an operator does.
func TestSnapshotAndRollback(t *testing.T) {
	const records, layers = "tank/command", "tank/command/layers"
	root := t.TempDir()
	tool(t, "create", "-o", "mountpoint="+root, records)
	defer tool(t, "destroy", "-R", records)
	tool(t, "create", "-o", "mountpoint=legacy", layers)
	tool(t, "create", records+"/volumes")
	makeDirs(t, root+"/volumes/db/_data")
	name := strings.TrimSpace(runCommand(t, 0, "", "snapshot", "--dataset", layers, "--records", records))
	if out := runCommand(t, 0, "", "snapshots", "--dataset", layers); !strings.Contains(out, name) {
		t.Errorf("not in the list:\n%s", out)
	}
	if out := runCommand(t, 0, "", "__complete", "rollback", "--dataset", layers, ""); !strings.HasPrefix(out, name+"\n") {
		t.Errorf("a shell is not offered it:\n%s", out)
	}
	tool(t, "snapshot", records+"@foreign")
	if out := runCommand(t, exitRefused, "", "rollback", layers+"@"+name); !strings.Contains(out, records+"@foreign") {
		t.Errorf("what would be lost is not named:\n%s", out)
	}
	full := []string{"rollback", "@" + name, "--dataset", layers, "--destroy-newer"}
	t.Log(runCommand(t, 0, "", append(full, "--dry-run")...))
	runCommand(t, exitRefused, "no\n", full...)
	runCommand(t, exitFailed, "", append(full, "--records", "tank/other")...)
	tool(t, "list", records+"@foreign")
	out := runCommand(t, 0, "yes\n", full...)
	for _, want := range []string{"Volumes that keep their content: db", "Kept their content: " + records + "/volumes", "dockerd can be started"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if _, err := os.Stat(root + "/volumes/db/_data"); err != nil {
		t.Error(err)
	}
	tool(t, "unmount", records+"/volumes")
	if out := runCommand(t, exitWarning, "", append(full, "--yes")...); !strings.Contains(out, "zfs mount "+records+"/volumes") || strings.Contains(out, "can be started") {
		t.Errorf("without the mount of volumes:\n%s", out)
	}
	layersOnly := runCommand(t, 0, "", "snapshot", "--dataset", layers)
	if !strings.Contains(layersOnly, "--records") {
		t.Errorf("it does not say what is missing:\n%s", layersOnly)
	}
	var infos []snapshot.Info
	if err := json.Unmarshal([]byte(runCommand(t, 0, "", "snapshots", "--json", "--dataset", layers)), &infos); err != nil || len(infos) != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
	runCommand(t, exitRefused, "", "rollback", infos[1].Name, "--dataset", layers)
	runCommand(t, exitFailed, "", "rollback", "nonsense", "--dataset", layers)
	runCommand(t, exitFailed, "", "snapshots", "--dataset", "tank/none")
}

// TestContainerdsRecordsGoAlong: layers of the snapshotter go nowhere without the names that
// containerd has for them.
func TestContainerdsRecordsGoAlong(t *testing.T) {
	const records, layers = "tank/named", "tank/named/layers"
	root := t.TempDir()
	tool(t, "create", "-o", "mountpoint="+root, records)
	defer tool(t, "destroy", "-R", records)
	tool(t, "create", "-o", "mountpoint=legacy", layers)
	tool(t, "create", records+"/deeper")
	for _, dir := range []string{root + "/volumes/local/_data", root + "/containerd", root + "/deeper/containerd", filepath.Dir(host.SnapshotterConfig)} {
		makeDirs(t, dir)
	}
	if err := os.WriteFile(host.SnapshotterConfig, []byte("[store]\ndataset = \""+layers+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(host.SnapshotterConfig)
	name := strings.TrimSpace(runCommand(t, 0, "", "snapshot", "--dataset", layers, "--records", records))
	back := []string{"rollback", "@" + name, "--dataset", layers, "--yes", "--containerd-root"}
	away := []string{"backup", "--dataset", layers, "--records", records, "--dry-run", "--containerd-root"}
	apart := t.TempDir()
	for _, refused := range [][]string{append(back, apart), append(back, root+"/deeper/containerd"), append(away, apart)} {
		if out := runCommand(t, exitRefused, "", refused...); !strings.Contains(out, "containerd's records in "+refused[len(refused)-1]) {
			t.Errorf("%q says\n%s", refused, out)
		}
	}
	for _, goes := range [][]string{append(back, root+"/containerd"), append(back, apart, "--layers-only")} {
		if out := runCommand(t, 0, "", goes...); !strings.Contains(out, "containerd and dockerd can be started") {
			t.Errorf("%q says\n%s", goes, out)
		}
	}
	if out := runCommand(t, 0, "", append(back, root+"/containerd")...); !strings.Contains(out, "Volumes that went back: local") {
		t.Errorf("a volume in the data-root's dataset goes back:\n%s", out)
	}
	tool(t, "set", "overlayzfs:rollback="+name, layers) // a run that was cut goes on
	runCommand(t, 0, "", append(back, apart, "--records", records)...)
	runCommand(t, 0, "", append(away, root+"/containerd")...)
	runCommand(t, 0, "", append(away, root+"/deeper/containerd")...)
	away[2], away[4] = "tank/other/layers", "tank/other" // a copy of another host's
	if out := runCommand(t, 0, "", append(away, apart)...); strings.Contains(out, "containerd's records") {
		t.Errorf("a backup of a copy says\n%s", out)
	}
}

// TestDestroySnapshots destroys snapshots of ours on each dataset, and no others.
func TestDestroySnapshots(t *testing.T) {
	const records, layers = "tank/destroyed", "tank/destroyed/layers"
	tool(t, "create", "-o", "mountpoint=none", records)
	defer tool(t, "destroy", "-R", records)
	tool(t, "create", layers)
	takeOne := func() string {
		return strings.TrimSpace(runCommand(t, 0, "", "snapshot", "--dataset", layers, "--records", records))
	}
	wantLeft := func(want ...string) {
		t.Helper()
		out, err := exec.Command("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", records).Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the snapshots are %q, want %q", got, want)
		}
	}
	first, second, third := takeOne(), takeOne(), takeOne()
	tool(t, "snapshot", "-r", records+"@foreign")
	destroy := func(code int, answer string, args ...string) string {
		t.Helper()
		return runCommand(t, code, answer, append([]string{"snapshots", "destroy", "--dataset", layers}, args...)...)
	}
	all := []string{records + "@foreign", records + "@" + first, records + "@" + second, records + "@" + third}
	for _, name := range all {
		all = append(all, strings.Replace(name, records, layers, 1))
	}
	destroy(exitUsage, "")
	if out := destroy(exitFailed, "", first, "foreign", "--yes"); !strings.Contains(out, "overlayzfs snapshots") {
		t.Errorf("a snapshot of another program:\n%s", out)
	}
	destroy(0, "", first, "--dry-run")
	destroy(exitRefused, "no\n", first)
	tool(t, "hold", "keep", records+"@"+second)
	if out := destroy(exitRefused, "", first, second, "--yes"); !strings.Contains(out, "kept by hold keep") {
		t.Errorf("a held snapshot:\n%s", out)
	}
	wantLeft(all...)
	tool(t, "release", "keep", records+"@"+second)
	tool(t, "set", "overlayzfs:rollback="+second, layers)
	if out := destroy(exitRefused, "", second, "--yes"); !strings.Contains(out, "overlayzfs rollback") {
		t.Errorf("a rollback to it is unfinished:\n%s", out)
	}
	tool(t, "inherit", "overlayzfs:rollback", layers)
	if out := destroy(0, "yes\n", first, layers+"@"+second, first); !strings.Contains(out, "Destroyed 2 snapshots.") {
		t.Errorf("%s", out)
	}
	left := []string{records + "@foreign", records + "@" + third, layers + "@foreign", layers + "@" + third}
	wantLeft(left...)

	tool(t, "create", records+"/volumes")
	runCommand(t, 0, "", "backup", "--dataset", layers, "--records", records, "--output", filepath.Join(t.TempDir(), "stream"))
	infos := []snapshot.Info{}
	if err := json.Unmarshal([]byte(runCommand(t, 0, "", "snapshots", "--json", "--dataset", layers)), &infos); err != nil || len(infos) != 2 {
		t.Fatalf("%+v, %v", infos, err)
	}
	destroy(0, "", infos[1].Name, "--yes") // of volumes, too
	wantLeft(left...)
}
