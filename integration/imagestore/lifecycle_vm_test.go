//go:build vm

package imagestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

const threeLayerImage = "lab/multi:latest"

func writeThreeLayers(t testing.TB) string {
	t.Helper()
	return images.WriteArchive(t, threeLayerImage, []string{"sleep", "1000000"}, images.ThreeLayers(t)...)
}

// TestLoadSurvivesAKilledSnapshotter kills the snapshotter during docker load. Docker
// reports success and logs the failure. The image is unpacked when it is used or loaded
// again, and is then complete.
func TestLoadSurvivesAKilledSnapshotter(t *testing.T) {
	s, archive := newTestEngine(t, nil), writeThreeLayers(t)
	loading := s.Command("load", "-i", archive)
	must(t, loading.Start())
	ended := make(chan error, 1)
	go func() { ended <- loading.Wait() }()
	waitFor(t, engine.CheckUnpacking)
	inguest.RequireRunning(t, "docker load", ended)
	s.containerd.Snapshotter.Kill(t)
	t.Logf("the interrupted load: %v", <-ended)
	s.containerd.Snapshotter.Again(t)
	// containerd pauses before it dials again.
	waitFor(t, func() error {
		got, err := s.Try("run", "--rm", "--network", "none", threeLayerImage, "cat", "/etc/motd", "/opt/shown")
		if err == nil && got != "changed\nabove" {
			t.Fatalf("the image holds %q", got)
		}
		if err != nil && !strings.Contains(err.Error(), "connection refused") {
			t.Fatal(err)
		}
		return err
	})
	s.Docker(t, "load", "-i", archive)
	s.requireSame(t, archive)
	s.Docker(t, "rmi", "-f", threeLayerImage)
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// requireSame compares the image with the archive as an engine on overlayfs unpacks it.
func (s *testEngine) requireSame(t *testing.T, archive string) {
	t.Helper()
	overlayfs := s.startReference(t)
	overlayfs.Docker(t, "load", "-i", archive)
	var ours, other *treecmp.Tree
	must(t, parallel(
		func() (err error) { ours, err = images.ReadImage(s.Engine, threeLayerImage); return err },
		func() (err error) { other, err = images.ReadImage(overlayfs, threeLayerImage); return err },
	))
	o := images.LayerOptions
	o.LooseTimes = append(slices.Clone(o.LooseTimes), "srv") // the last layer changes it without an entry
	images.RequireSame(t, "the image, ours and on overlayfs", ours, other, o)
}

// TestBuildsWorkAfterTheSnapshotterWasKilled kills the snapshotter during a build step.
// The step's container runs on; its build may fail. The next build must succeed.
func TestBuildsWorkAfterTheSnapshotterWasKilled(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	dir := images.WriteContext(t, map[string]string{
		"Dockerfile": "FROM odds\nARG until\nRUN echo one >/one && rm -r /lower/keep-dir && touch /began && while [ ! -e $until ]; do sleep 0.1; done; rm /began\nRUN echo two >/two\n",
	})
	began := make(chan error, 1)
	go func() { began <- images.BuildKit.Build(s.Engine, "cut", dir, "--build-arg", "until=/go") }()
	waitFor(t, func() error { return checkLayerHolds("began") })
	s.containerd.Snapshotter.Kill(t)
	s.containerd.Snapshotter.Again(t)
	t.Logf("the interrupted build: %v", releaseStep(t, began))
	waitFor(t, func() error {
		err := images.BuildKit.Build(s.Engine, "whole", dir, "--build-arg", "until=/one")
		if err != nil && !strings.Contains(err.Error(), "connection refused") {
			t.Fatal(err)
		}
		return err
	})
	if got := s.Docker(t, "run", "--rm", "--network", "none", "whole", "sh", "-c", "cat /one /two; ls / /lower"); !strings.HasPrefix(got, "one\ntwo\n") ||
		strings.Contains(got, "keep-dir") || strings.Contains(got, "began") {
		t.Errorf("the image holds %q", got)
	}
}

// releaseStep makes the file that the build's step waits for, and returns how the build ends. It
// may end without the step.
func releaseStep(t *testing.T, ended <-chan error) (build error) {
	t.Helper()
	done := false
	waitFor(t, func() error {
		select {
		case build = <-ended:
			done = true
			return nil
		default:
		}
		roots, err := filepath.Glob("/proc/[0-9]*/root/began")
		if err == nil && len(roots) == 0 {
			err = errors.New("no process waits in the step")
		}
		for _, root := range roots {
			err = errors.Join(err, os.WriteFile(filepath.Join(filepath.Dir(root), "go"), nil, 0o600))
		}
		return err
	})
	if !done {
		build = <-ended
	}
	return build
}

// TestContainersOutliveTheSnapshotter kills the snapshotter under a container, which
// runs on and keeps its files over a restart.
func TestContainersOutliveTheSnapshotter(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.writeNote(t, "one")
	s.containerd.Snapshotter.Kill(t)
	s.writeNote(t, "two")
	s.containerd.Snapshotter.Again(t)
	s.writeNote(t, "three")
	s.requireNotes(t, "one two three")
	s.Docker(t, "restart", "-t", "0", "box")
	s.requireNotes(t, "one two three")
	s.RemoveContainers(t, "box")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// TestImagesAndContainersSurviveARestartOfEverything stops all daemons, and then kills
// all of them.
func TestImagesAndContainersSurviveARestartOfEverything(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.writeNote(t, "one")
	s.Stop(t)
	s.containerd.Stop(t)
	s.containerd.Snapshotter.Stop(t)
	s.startAll(t)
	s.requireNotes(t, "one")
	s.writeNote(t, "two")

	s.containerd.Snapshotter.Kill(t)
	s.containerd.Kill(t)
	s.Kill(t)
	s.startAll(t)
	s.requireNotes(t, "one two")
	must(t, images.BuildKit.Build(s.Engine, "built", images.WriteContext(t, map[string]string{"Dockerfile": "FROM odds\nRUN echo built >/note\n"})))
	if got := s.Docker(t, "run", "--rm", "--network", "none", "built", "cat", "/note"); got != "built" {
		t.Errorf("the image built afterwards holds %q", got)
	}
	s.RemoveContainers(t, "box")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

func (s *testEngine) startAll(t *testing.T) {
	t.Helper()
	s.containerd.Snapshotter.Again(t)
	s.containerd.Again(t)
	s.Again(t)
	s.StartContainers(t, "box")
}

func (s *testEngine) writeNote(t *testing.T, note string) {
	t.Helper()
	s.MustExec(t, "box", "sh", "-ec", fmt.Sprintf("echo %s >>/notes; rm -f /lower/keep-file; mkdir /lower/of-%s", note, note))
}

func (s *testEngine) requireNotes(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(strings.Fields(s.MustExec(t, "box", "cat", "/notes")), " "); got != want {
		t.Errorf("the container holds the notes %q, want %q", got, want)
	}
	if _, err := s.Exec("box", "test", "-e", "/lower/keep-file"); err == nil {
		t.Error("a file that the container deleted is back")
	}
}

// checkLayerHolds returns an error until a layer has a file of this name.
func checkLayerHolds(name string) error {
	all, err := engine.SnapshotterLayers()
	for _, layer := range all {
		if fileExists(layer + "/diff/" + name) {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("no layer of %d below %s holds %s", len(all), engine.SnapshotterHome, name))
}
