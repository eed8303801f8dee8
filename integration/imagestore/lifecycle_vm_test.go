//go:build vm

package imagestore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

const threeLayerImage = "lab/multi:latest"

func writeThreeLayers(t testing.TB) string {
	t.Helper()
	return images.WriteArchive(t, threeLayerImage, []string{"sleep", "1000000"}, images.ThreeLayers(t)...)
}

// TestTheSnapshotterKilledWhileAnImageIsLoaded: Docker calls the load a success
// and writes into its log what failed. What was not unpacked is when the image is
// used, or loaded again, and it is whole.
func TestTheSnapshotterKilledWhileAnImageIsLoaded(t *testing.T) {
	s, archive := newTestEngine(t, nil), writeThreeLayers(t)
	loading := s.Command("load", "-i", archive)
	must(t, loading.Start())
	ended := make(chan error, 1)
	go func() { ended <- loading.Wait() }()
	waitFor(t, engine.CheckUnpacking)
	s.containerd.Snapshotter.Kill(t)
	t.Logf("the load that was cut: %v", <-ended)
	s.containerd.Snapshotter.Again(t)
	// containerd lets some time pass before it dials again.
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

// requireSame compares the image with what an engine on overlayfs makes of the
// archive.
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
	o.LooseTimes = append(slices.Clone(o.LooseTimes), "srv") // its last layer changes it and does not name it
	images.RequireSame(t, "the image, ours and on overlayfs", ours, other, o)
}

// TestBuildsGoOnAfterTheSnapshotterWasKilled kills it while a step runs, whose
// container does not notice. The step's end does, and the build fails or
// succeeds; the next one succeeds.
func TestBuildsGoOnAfterTheSnapshotterWasKilled(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	dir := images.WriteContext(t, map[string]string{
		"Dockerfile": "FROM odds\nRUN echo one >/one && rm -r /lower/keep-dir && touch /began && sleep 10 && rm /began\nRUN echo two >/two\n",
	})
	began := make(chan error, 1)
	go func() { began <- images.BuildKit.Build(s.Engine, "cut", dir) }()
	waitFor(t, func() error { return checkLayerHolds("began") })
	s.containerd.Snapshotter.Kill(t)
	s.containerd.Snapshotter.Again(t)
	t.Logf("the build that was cut: %v", <-began)
	waitFor(t, func() error {
		err := images.BuildKit.Build(s.Engine, "whole", dir)
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

// TestContainersOutliveTheSnapshotter: a running container is not disturbed,
// and what it wrote is there when it is started again.
func TestContainersOutliveTheSnapshotter(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--name", "box", "odds", "sleep", "1000000")
	s.writeNote(t, "one")
	s.containerd.Snapshotter.Kill(t)
	s.writeNote(t, "two")
	s.containerd.Snapshotter.Again(t)
	s.writeNote(t, "three")
	s.requireNotes(t, "one two three")
	s.Docker(t, "restart", "-t", "0", "box")
	s.requireNotes(t, "one two three")
	s.Docker(t, "rm", "-f", "box")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// TestAllStartedAgain stops everything, and has everything crash: images and
// containers are there afterwards.
func TestAllStartedAgain(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "run", "-d", "--network", "none", "--name", "box", "odds", "sleep", "1000000")
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
	s.Docker(t, "rm", "-f", "box")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

func (s *testEngine) startAll(t *testing.T) {
	t.Helper()
	s.containerd.Snapshotter.Again(t)
	s.containerd.Again(t)
	s.Again(t)
	s.Docker(t, "start", "box")
}

func (s *testEngine) writeNote(t *testing.T, note string) {
	t.Helper()
	s.Docker(t, "exec", "box", "sh", "-ec", fmt.Sprintf("echo %s >>/notes; rm -f /lower/keep-file; mkdir /lower/of-%s", note, note))
}

func (s *testEngine) requireNotes(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(strings.Fields(s.Docker(t, "exec", "box", "cat", "/notes")), " "); got != want {
		t.Errorf("the container holds the notes %q, want %q", got, want)
	}
	if _, err := s.Try("exec", "box", "test", "-e", "/lower/keep-file"); err == nil {
		t.Error("what the container deleted is back")
	}
}

// checkLayerHolds is an error until a layer holds a file of this name.
func checkLayerHolds(name string) error {
	all, err := engine.SnapshotterLayers()
	for _, layer := range all {
		if fileExists(layer + "/diff/" + name) {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("no layer of %d below %s holds %s", len(all), engine.SnapshotterHome, name))
}
