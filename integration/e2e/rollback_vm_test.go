//go:build vm

package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// operatorsCommand is where the lab puts cmd/overlayzfs for these tests.
const operatorsCommand = "/lab/job/overlayzfs"

// operator runs the operator's command and returns its exit code.
func operator(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	raw, err := exec.Command(operatorsCommand, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return strings.TrimSpace(string(raw)), code
}

// TestRollback goes back to the snapshot of a stop, twice: Docker's records and
// the layers are of one moment again, whatever was done to them since.
func TestRollback(t *testing.T) {
	s := newRecordedSite(t)
	importTiny(t, s.Engine, "tiny")
	buildImage(t, s.Engine, "built")
	startContainer(t, s.Engine, "plain")
	startContainer(t, s.Engine, "limited", "--storage-opt", "size=24M")
	s.Docker(t, "stop", "plain", "limited")
	before := s.everything(t)
	if len(before) < 20 {
		t.Fatalf("what is there shows nothing: %q", before)
	}
	s.Stop(t)
	back := s.latest(t)

	for _, round := range []struct {
		name string
		harm func(*testing.T)
	}{
		{"Destroyed", s.destroys},
		{"Replaced", s.replaces},
	} {
		t.Run(round.name, func(t *testing.T) {
			s.Again(t)
			if err := differ(s.everything(t), before); err != nil {
				t.Fatalf("before anything was done: %v", err)
			}
			round.harm(t)
			if differ(s.everything(t), before) == nil {
				t.Fatal("nothing was changed")
			}
			s.refusedWhileItRuns(t, back)
			s.Stop(t)
			if s.latest(t) == back {
				t.Error("the stop took no snapshot")
			}
			s.goesBack(t, back)
			s.Again(t)
			for _, d := range differences(s.everything(t), before) {
				t.Error(d)
			}
			s.works(t)
			s.Stop(t)
		})
	}
	s.leaves(t)
}

// recordedSite is an engine whose data-root is a dataset of its own, with the
// layers on one below it, and snapshots of both at each stop.
type recordedSite struct {
	*site
	records string
}

func newRecordedSite(t *testing.T) *recordedSite {
	t.Helper()
	s := &recordedSite{records: "tank/docker"}
	engine.CreateDataset(t, s.records)
	root := dataRoot(t)
	run(t, "mount", "-t", "zfs", s.records, root)
	t.Cleanup(func() { run(t, "umount", root) })
	layers := s.records + "/layers"
	run(t, "zfs", "create", layers)
	e := engine.Start(t, engine.Options{Root: root, Driver: "vfs", Config: map[string]any{}})
	s.site = &site{Engine: e, dataset: layers}
	e.InstallPlugin(t, layers)
	e.Stop(t)
	e.Driver = engine.PluginName
	s.keeps("stop:3")
	e.Again(t)
	if info := e.Docker(t, "info"); lineWith(info, "Snapshots:", "stop 0/3") == "" {
		t.Errorf("docker info says nothing of snapshots:\n%s", info)
	}
	return s
}

// keeps sets the policy for snapshots, for the next start.
func (s *recordedSite) keeps(policy string) {
	s.Config["storage-opts"] = []string{"overlayzfs.snapshots=" + policy, "overlayzfs.snapshots.records=" + s.records}
}

// everything is what an engine shows of its images and containers, and what
// they hold.
func (s *recordedSite) everything(t testing.TB) []string {
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
		all = append(all, s.saved(t, image)...)
	}
	for _, container := range strings.Fields(s.Docker(t, "ps", "-a", "--format", "{{.Names}}")) {
		all = append(all, lines("changes of "+container, "diff", container)...)
		all = append(all, "limit of "+container+": "+s.Docker(t, "inspect", "-f", "{{.GraphDriver.Data.Dataset}} {{.GraphDriver.Data.Size}} {{.State.ExitCode}}", container))
	}
	return all
}

// saved lists what `docker save` hands out, by name and digest.
func (s *recordedSite) saved(t testing.TB, image string) (all []string) {
	t.Helper()
	cmd := s.Command("save", image)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
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
	must(t, cmd.Wait())
	slices.Sort(all)
	return all
}

// differences lists what two lists do not share.
func differences(got, want []string) (all []string) {
	for _, line := range want {
		if !slices.Contains(got, line) {
			all = append(all, "lost: "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			all = append(all, "too much: "+line)
		}
	}
	return all
}

// latest is the newest snapshot of both datasets.
func (s *recordedSite) latest(t testing.TB) string {
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

// destroys deletes all there is.
func (s *recordedSite) destroys(t *testing.T) {
	s.Docker(t, "rm", "-f", "plain", "limited")
	s.Docker(t, "rmi", "built", "tiny")
	s.Docker(t, "system", "prune", "-af", "--volumes")
}

// replaces puts others of the same names in the place of some, adds some, and
// writes to the rest.
func (s *recordedSite) replaces(t *testing.T) {
	s.Docker(t, "start", "limited")
	s.mustInContainer(t, "limited", "rm /own; dd if=/dev/urandom of=/noise bs=1M count=8 2>&1")
	s.Docker(t, "stop", "limited")
	s.Docker(t, "rm", "plain")
	startContainer(t, s.Engine, "plain", "--storage-opt", "size=20M")
	startContainer(t, s.Engine, "third")
	s.Docker(t, "commit", "third", "tiny")
	s.Docker(t, "rmi", "built")
	s.Docker(t, "stop", "plain", "third")
}

// refusedWhileItRuns tries to pull the store from under the engine.
func (s *recordedSite) refusedWhileItRuns(t *testing.T, name string) {
	t.Helper()
	out, code := operator(t, "rollback", name, "--dataset", s.dataset, "--destroy-newer", "--yes")
	if code != 3 || !strings.Contains(out, "stop dockerd") {
		t.Errorf("a rollback under a running engine exits with %d and says\n%s", code, out)
	}
	if out := s.Docker(t, "info"); lineWith(out, "Storage Driver: overlayzfs") == "" {
		t.Errorf("the engine afterwards:\n%s", out)
	}
}

// goesBack rolls back. Newer snapshots are only lost by consent.
func (s *recordedSite) goesBack(t *testing.T, name string) {
	t.Helper()
	s.released(t)
	if out, code := operator(t, "rollback", name, "--dataset", s.dataset, "--yes"); code != 3 || !strings.Contains(out, "--destroy-newer") {
		t.Errorf("a rollback that loses a snapshot exits with %d and says\n%s", code, out)
	}
	// What the kernel remembers of the files of a mounted file system outlives
	// its rollback: dockerd would die of a bus error in its databases.
	run(t, "umount", s.Root)
	defer run(t, "mount", "-t", "zfs", s.records, s.Root)
	out, code := operator(t, "rollback", name, "--dataset", s.dataset, "--destroy-newer", "--yes")
	if code != 0 {
		t.Fatalf("the rollback exits with %d and says\n%s", code, out)
	}
	t.Log(out)
	if s.latest(t) != name {
		t.Errorf("after the rollback the latest snapshot is %s", s.latest(t))
	}
}

// released waits until a stopped engine's mounts are gone.
func (s *recordedSite) released(t testing.TB) {
	t.Helper()
	err := poll(func() error { return differ(mountsBelow(t, s.Root, s.dataset), nil) })
	if err != nil {
		t.Errorf("mounts of a stopped engine: %v", err)
	}
}

// works uses what came back; what it changes is gone by the next rollback.
func (s *recordedSite) works(t *testing.T) {
	t.Helper()
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	for _, container := range []string{"plain", "limited"} {
		s.Docker(t, "start", container)
		intact(t, s.Engine, container)
	}
	requireTotal(t, s.site, "limited", 24*mib)
	s.fillsUp(t, "limited", 24*mib)
	buildImage(t, s.Engine, "again")
	s.Docker(t, "rmi", "again")
	s.Docker(t, "stop", "plain", "limited")
}

// leaves empties the store. The dataset of a limited container goes with the
// last snapshot that has it.
func (s *recordedSite) leaves(t *testing.T) {
	t.Helper()
	s.Again(t)
	s.Docker(t, "rm", "-f", "plain", "limited")
	s.Docker(t, "rmi", "built", "tiny")
	if n := len(s.below(t)); n != 1 {
		t.Errorf("there are %d datasets of containers, want that of a snapshot", n)
	}
	s.Stop(t)
	s.keeps("stop:1")
	s.Again(t)
	s.Stop(t)
	s.released(t)
	if left := s.below(t); len(left) > 0 {
		t.Errorf("datasets of containers that are gone, and of which there is no snapshot: %q", left)
	}
}

// below lists the datasets of containers.
func (s *recordedSite) below(t testing.TB) []string {
	t.Helper()
	return strings.Fields(run(t, "zfs", "list", "-H", "-o", "name", "-t", "filesystem", "-r", s.dataset))[1:]
}
