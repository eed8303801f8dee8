//go:build vm

package imagestore

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
)

// TestOperator runs the operator's command on the store of a Docker with the containerd
// image store: beside running daemons, and for gc with all of them stopped.
func TestOperator(t *testing.T) {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "load", "-i", writeThreeLayers(t))
	s.Docker(t, "run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", "box", "odds", "sleep", "1000000")
	s.Docker(t, "create", "--network", "none", "--name", "idle", threeLayerImage)
	run := func(args ...string) (string, int) { return s.containerd.Operator(t, s.Root, args...) }
	say := func(args []string, words ...string) { s.containerd.RequireOperator(t, s.Root, args, words...) }

	want := map[string]int{"image": 4, "init": 2, "container": 2}
	if got := s.containerd.OperatorLayers(t, s.Root); !maps.Equal(got, want) {
		t.Errorf("the layers are %v, want %v", got, want)
	}
	say([]string{"ls"}, "odds:latest", threeLayerImage, "box", "idle")
	say([]string{"tree"}, threeLayerImage, "container box", "container idle", "init")
	say([]string{"df"}, "unknown to containerd")
	say([]string{"df", "-Hp", "-o", "kind,count,active,layers"}, "images\t2\t2\t4", "containers\t2\t1\t4")
	say([]string{"inspect", "box"}, "Container box", "odds:latest", "Running:      true")
	say([]string{"inspect", threeLayerImage}, "Image "+threeLayerImage, "idle")
	say([]string{"verify", threeLayerImage}, "Intact: 3 layers")
	if out, code := run("verify"); code != 0 && code != 5 || strings.Contains(out, "changed") {
		t.Errorf("verify ends with %d", code)
	}
	if out, code := run("gc", "--dry-run"); code != 3 || !strings.Contains(out, "stop containerd and overlayzfs-snapshotter") {
		t.Errorf("gc beside running daemons ends with %d", code)
	}
	say([]string{"send", "--dry-run"}, "Would send 2 image names and", "in name space moby")
	s.harm(t, run)
	s.orphan(t, run)

	s.containerd.Snapshotter.Again(t)
	s.containerd.Again(t)
	s.Again(t)
	if got := s.containerd.OperatorLayers(t, s.Root); !maps.Equal(got, want) {
		t.Errorf("after gc the layers are %v, want %v", got, want)
	}
	if got := s.Docker(t, "run", "--rm", "--network", "none", threeLayerImage, "cat", "/etc/motd", "/opt/shown"); got != "changed\nabove" {
		t.Errorf("after gc the image holds %q", got)
	}
	s.RemoveContainers(t, "box", "idle")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// harm changes a file of an image behind everybody's back, which verify reports, and back.
func (s *testEngine) harm(t *testing.T, run func(...string) (string, int)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(engine.SnapshotterHome, "[0-9]*", "diff", "opt", "shown"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	before, err := os.ReadFile(files[0])
	must(t, err)
	must(t, os.WriteFile(files[0], []byte("harmed"), 0o644))
	if out, code := run("verify", threeLayerImage); code != 6 || !strings.Contains(out, "changed") || !strings.Contains(out, "shown") {
		t.Errorf("verify of a changed layer ends with %d", code)
	}
	must(t, os.WriteFile(files[0], before, 0o644))
	if _, code := run("verify", threeLayerImage); code != 0 {
		t.Errorf("verify of the restored layer ends with %d", code)
	}
}

// orphan stops the daemons, makes a snapshot that containerd does not know, as a crash
// leaves one, and has gc remove it.
func (s *testEngine) orphan(t *testing.T, run func(...string) (string, int)) {
	t.Helper()
	s.Stop(t)
	s.containerd.Stop(t)
	client, err := snapclient.Dial(engine.SnapshotterSocket, engine.SnapshotterName)
	must(t, err)
	// containerd gave the number 1 to what the first layer was unpacked into.
	_, err = client.Prepare(t.Context(), "moby/1/lost", "")
	must(t, err)
	must(t, client.Close())
	if out, code := run("ls", "--unknown", "--json"); code != 0 || !strings.Contains(out, "moby/1/lost") {
		t.Errorf("ls does not list the orphan, and ends with %d", code)
	}
	if out, code := run("gc", "--yes"); code != 3 || !strings.Contains(out, "stop containerd and overlayzfs-snapshotter") {
		t.Errorf("gc beside the snapshotter ends with %d", code)
	}
	s.containerd.Snapshotter.Stop(t)
	if out, code := run("gc", "--dry-run"); code != 0 || !strings.Contains(out, "do not know 1 layer on "+s.dataset+"; 8 stay") {
		t.Errorf("gc's preview ends with %d", code)
	}
	if out, code := run("gc", "--yes"); code != 0 || !strings.Contains(out, "Removed 1 layer.") {
		t.Errorf("gc ends with %d", code)
	}
	if out, code := run("gc", "--yes"); code != 0 || !strings.Contains(out, "do not know 0 layers") {
		t.Errorf("gc for the second time ends with %d", code)
	}
}
