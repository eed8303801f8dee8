//go:build vm

package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// operatorPath is the path of the operator's command in the guest.
const operatorPath = "/lab/job/overlayzfs"

// runOperator runs the operator's command and returns its output and exit code.
func runOperator(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	raw, err := exec.Command(operatorPath, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return strings.TrimSpace(string(raw)), code
}

// TestRollback rolls back twice to the snapshot of a stop. Docker's records and the
// layers are then of one moment, whatever was done to them since.
func TestRollback(t *testing.T) {
	s := newSnapshotEngine(t, true)
	importTiny(t, s.Engine, "tiny")
	buildImage(t, s.Engine, "built")
	startContainer(t, s.Engine, "plain", "-v", "db:/data")
	s.mustExecShell(t, "plain", "echo then >/data/text")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=24M")
	s.StopContainers(t, "plain", "limited")
	before := s.collectFacts(t)
	if len(before) < 20 {
		t.Fatalf("too few facts to prove anything: %q", before)
	}
	s.Stop(t)
	back := s.latestSnapshot(t)

	for _, round := range []struct {
		name string
		harm func(*testing.T)
	}{
		{"ContentIsDestroyed", s.destroyContent},
		{"ContentIsReplaced", s.replaceContent},
	} {
		t.Run(round.name, func(t *testing.T) {
			s.Again(t)
			if err := compareLists(s.collectFacts(t), before); err != nil {
				t.Fatalf("before anything was done: %v", err)
			}
			volume := s.writeVolume(t, round.name)
			round.harm(t)
			if compareLists(s.collectFacts(t), before) == nil {
				t.Fatal("the harm changed nothing")
			}
			s.requireRefusalWhileRunning(t, back)
			s.Stop(t)
			if s.latestSnapshot(t) == back {
				t.Error("the stop took no snapshot")
			}
			s.rollBack(t, back)
			if raw, err := os.ReadFile(volume); err != nil || string(raw) != round.name {
				t.Errorf("the volume holds %q, %v", raw, err)
			}
			s.Again(t)
			for _, d := range differences(s.collectFacts(t), before) {
				t.Error(d)
			}
			s.exerciseContent(t)
			s.Stop(t)
		})
	}
	s.emptyStore(t)
}

// snapshotEngine is an engine whose data-root is a dataset, with the layers on a
// dataset below it, and snapshots of both at each stop.
type snapshotEngine struct {
	*testEngine
	records string
	mounts  []string // in the data-root of a stopped engine
}

// newSnapshotEngine starts one, with volumes on a dataset of their own as `overlayzfs setup`
// makes it, or not.
func newSnapshotEngine(t *testing.T, volumes bool) *snapshotEngine {
	t.Helper()
	s := &snapshotEngine{records: "tank/docker"}
	engine.CreateDataset(t, s.records)
	root := makeDataRoot(t)
	run(t, "mount", "-t", "zfs", s.records, root)
	t.Cleanup(func() { run(t, "umount", root) })
	layers := s.records + "/layers"
	run(t, "zfs", "create", layers)
	if volumes {
		dir := root + "/volumes"
		run(t, "zfs", "create", "-o", "mountpoint="+dir, s.records+"/volumes")
		t.Cleanup(func() { run(t, "zfs", "unmount", s.records+"/volumes") })
		s.mounts = []string{dir + " zfs"}
	}
	e := engine.Start(t, engine.Options{Root: root, Driver: "vfs", Config: map[string]any{}})
	s.testEngine = &testEngine{Engine: e, dataset: layers}
	e.InstallPlugin(t, layers)
	e.Stop(t)
	e.Driver = engine.PluginName
	s.setSnapshotPolicy("stop:3")
	e.Again(t)
	if info := e.Docker(t, "info"); findLine(info, "Snapshots:", "stop 0/3") == "" {
		t.Errorf("docker info says nothing of snapshots:\n%s", info)
	}
	return s
}

// writeVolume writes to the volume, which lies on a dataset of its own, and returns the file.
func (s *snapshotEngine) writeVolume(t *testing.T, text string) string {
	t.Helper()
	path := s.Root + "/volumes/db/_data/text"
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// setSnapshotPolicy sets the snapshot policy for the next start.
func (s *snapshotEngine) setSnapshotPolicy(policy string) {
	s.Config["storage-opts"] = []string{"overlayzfs.snapshots=" + policy, "overlayzfs.snapshots.records=" + s.records}
}

// collectFacts lists what an engine shows of its images and containers, and their
// content.
func (s *snapshotEngine) collectFacts(t testing.TB) []string {
	t.Helper()
	lines := func(what string, args ...string) (all []string) {
		for line := range strings.Lines(s.Docker(t, args...)) {
			all = append(all, what+": "+strings.TrimSpace(line))
		}
		slices.Sort(all)
		return all
	}
	all := slices.Concat(
		lines("image", "images", "-a", "--digests", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}} {{.CreatedAt}} {{.Size}}"),
		lines("container", "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.State}}"),
		lines("layer", "ps", "-a", "-s", "--no-trunc", "--format", "{{.Names}} {{.Size}}"),
	)
	for _, image := range strings.Fields(s.Docker(t, "images", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}")) {
		all = append(all, s.listSavedFiles(t, image)...)
	}
	for _, container := range strings.Fields(s.Docker(t, "ps", "-a", "--format", "{{.Names}}")) {
		all = append(all, lines("changes of "+container, "diff", container)...)
		all = append(all, "limit of "+container+": "+s.Docker(t, "inspect", "-f", "{{.GraphDriver.Data.Dataset}} {{.GraphDriver.Data.Size}} {{.State.ExitCode}}", container))
	}
	slices.Sort(all) // Docker lists images of the same second in any order
	return all
}

// listSavedFiles lists the files of a saved image by name and digest.
func (s *snapshotEngine) listSavedFiles(t testing.TB, image string) (all []string) {
	t.Helper()
	out, err := s.Get(t.Context(), "/images/"+image+"/get")
	must(t, err)
	defer out.Close()
	archive := tar.NewReader(out)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		hash := sha256.New()
		_, err = io.Copy(hash, archive)
		must(t, err)
		all = append(all, fmt.Sprintf("saved %s: %s %x", image, header.Name, hash.Sum(nil)))
	}
	_, err = io.Copy(io.Discard, out)
	must(t, err)
	slices.Sort(all)
	return all
}

// differences lists what only one of two lists has.
func differences(got, want []string) (all []string) {
	for _, line := range want {
		if !slices.Contains(got, line) {
			all = append(all, "missing: "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			all = append(all, "unexpected: "+line)
		}
	}
	return all
}

// latestSnapshot returns the name of the newest snapshot of both datasets.
func (s *snapshotEngine) latestSnapshot(t testing.TB) string {
	t.Helper()
	newest := func(dataset string) string {
		all := strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-s", "createtxg", "-d", "1", dataset))
		if len(all) == 0 {
			t.Fatalf("%s has no snapshot", dataset)
		}
		_, name, _ := strings.Cut(all[len(all)-1], "@")
		return name
	}
	name := newest(s.dataset)
	if other := newest(s.records); other != name {
		t.Errorf("the latest snapshots are %s of the layers and %s of the records", name, other)
	}
	return name
}

// destroyContent deletes all images and containers.
func (s *snapshotEngine) destroyContent(t *testing.T) {
	s.RemoveContainers(t, "plain", "limited")
	s.Docker(t, "rmi", "built", "tiny")
	s.Docker(t, "system", "prune", "-af", "--volumes")
}

// replaceContent replaces some images and containers by others of the same name, adds
// some, and writes to the rest.
func (s *snapshotEngine) replaceContent(t *testing.T) {
	s.StartContainers(t, "limited")
	s.mustExecShell(t, "limited", "rm /own; dd if=/dev/urandom of=/noise bs=1M count=8 2>&1")
	s.StopContainers(t, "limited")
	s.Docker(t, "rm", "plain")
	startContainer(t, s.Engine, "plain", "--storage-opt", "size=20M")
	startContainer(t, s.Engine, "third")
	s.Docker(t, "commit", "third", "tiny")
	s.Docker(t, "rmi", "built")
	s.StopContainers(t, "plain", "third")
}

// requireRefusalWhileRunning tries to roll back under the running engine.
func (s *snapshotEngine) requireRefusalWhileRunning(t *testing.T, name string) {
	t.Helper()
	out, code := runOperator(t, "rollback", name, "--dataset", s.dataset, "--destroy-newer", "--yes")
	if code != 3 || !strings.Contains(out, "stop dockerd") {
		t.Errorf("a rollback under a running engine exits with %d and says\n%s", code, out)
	}
	if out := s.Docker(t, "info"); findLine(out, "Storage Driver: overlayzfs") == "" {
		t.Errorf("the engine afterwards:\n%s", out)
	}
}

// rollBack rolls back. Newer snapshots are lost only with consent.
func (s *snapshotEngine) rollBack(t *testing.T, name string) {
	t.Helper()
	s.awaitUnmounted(t)
	if out, code := runOperator(t, "rollback", name, "--dataset", s.dataset, "--yes"); code != 3 || !strings.Contains(out, "--destroy-newer") {
		t.Errorf("a rollback that loses a snapshot exits with %d and says\n%s", code, out)
	}
	out, code := runOperator(t, "rollback", name, "--dataset", s.dataset, "--destroy-newer", "--yes")
	if code != 0 {
		t.Fatalf("the rollback exits with %d and says\n%s", code, out)
	}
	t.Log(out)
	if want := "Volumes that kept their content: db"; !strings.Contains(out, want) || !strings.Contains(out, "dockerd can be started") {
		t.Errorf("%q is not in the output", want)
	}
	s.awaitUnmounted(t)
	if s.latestSnapshot(t) != name {
		t.Errorf("after the rollback the latest snapshot is %s", s.latestSnapshot(t))
	}
}

// awaitUnmounted waits until a stopped engine's mounts and processes are gone.
func (s *snapshotEngine) awaitUnmounted(t testing.TB) {
	t.Helper()
	err := poll(func() error {
		// A plugin that ends destroys its spare datasets.
		programs := []string{"overlayzfs-plugin"}
		if s.Containerd == "" { // dockerd's own has files open in the data-root, and can outlive it
			programs = append(programs, "containerd")
		}
		for _, name := range programs {
			if pids := findProcesses(name); len(pids) > 0 {
				return fmt.Errorf("%s still runs: %d", name, pids)
			}
		}
		return compareLists(listMountsBelow(t, s.Root, s.dataset), s.mounts)
	})
	if err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
}

// exerciseContent uses what the rollback restored. The next rollback reverts its
// changes.
func (s *snapshotEngine) exerciseContent(t *testing.T) {
	t.Helper()
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	for _, container := range []string{"plain", "limited"} {
		s.StartContainers(t, container)
		requireIntact(t, s.Engine, container)
	}
	requireTotal(t, s.testEngine, "limited", 24*mib)
	s.fillToLimit(t, "limited", 24*mib)
	buildImage(t, s.Engine, "again")
	s.Docker(t, "rmi", "again")
	s.StopContainers(t, "plain", "limited")
}

// emptyStore empties the store. A limited container's dataset is destroyed with the
// last snapshot that has it.
func (s *snapshotEngine) emptyStore(t *testing.T) {
	t.Helper()
	s.Again(t)
	s.RemoveContainers(t, "plain", "limited")
	s.Docker(t, "rmi", "built", "tiny")
	if n := len(s.listContainerDatasets(t)); n != 1 {
		t.Errorf("%d datasets of containers, want one, which a snapshot has", n)
	}
	s.Stop(t)
	s.setSnapshotPolicy("stop:1")
	s.Again(t)
	s.Stop(t)
	s.awaitUnmounted(t)
	if left := s.listContainerDatasets(t); len(left) > 0 {
		t.Errorf("datasets of containers that are gone, and of which there is no snapshot: %q", left)
	}
}

// listContainerDatasets lists the datasets of containers, removed ones included.
func (s *snapshotEngine) listContainerDatasets(t testing.TB) []string {
	t.Helper()
	return slices.DeleteFunc(inguest.ListDatasets(t, s.dataset)[1:], func(name string) bool {
		return name == s.dataset+"/removed" || strings.Contains(name, "@")
	})
}
