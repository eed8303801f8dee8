//go:build vm

package containerd

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
)

// TestOperator runs the operator's command on the store of a containerd with a pod: beside
// running daemons, and for gc with the daemons stopped while the pod runs on.
func TestOperator(t *testing.T) {
	n := newNode(t, nil)
	n.importImage(t, writeThreeLayers(t))
	p := n.runPod(t, "first")
	box := p.runThreeLayers(t, "box", sleepForever...)
	noDocker := filepath.Join(n.dir, "docker")
	run := func(args ...string) (string, int) { return n.Operator(t, noDocker, args...) }
	say := func(args []string, words ...string) { n.RequireOperator(t, noDocker, args, words...) }

	want := map[string]int{"image": 4, "container": 2}
	if got := n.OperatorLayers(t, noDocker); !maps.Equal(got, want) {
		t.Errorf("the layers are %v, want %v", got, want)
	}
	say([]string{"ls", "--no-trunc"}, threeLayerImage, "default/first", "default/first/box", "container")
	say([]string{"tree"}, threeLayerImage, "container default/first/box")
	say([]string{"df", "-Hp", "-o", "kind,count,active,layers"}, "images\t2\t2\t4", "containers\t2\t2\t2")
	say([]string{"inspect", "default/first/box"}, "Container default/first/box", box, threeLayerImage, "Running:      true")
	say([]string{"inspect", kubernetesNamespace + "/" + threeLayerImage}, "Image ", "default/first/box")
	say([]string{"verify"}, "Intact: 4 layers")
	if out, code := run("gc", "--dry-run"); code != 3 || !strings.Contains(out, "stop containerd and overlayzfs-snapshotter") {
		t.Errorf("gc beside running daemons ends with %d", code)
	}

	n.Stop(t)
	// containerd gave the number 1 to what the first layer was unpacked into. It cannot have
	// given the other one.
	lost, foreign := kubernetesNamespace+"/1/lost", kubernetesNamespace+"/100000/foreign"
	askSnapshotter(t, func(ctx context.Context, client *snapclient.Client) error {
		_, err := client.Prepare(ctx, lost, "")
		_, otherErr := client.Prepare(ctx, foreign, "")
		return errors.Join(err, otherErr)
	})
	n.Snapshotter.Stop(t)
	if out, code := run("gc", "--yes"); code != 3 || !strings.Contains(out, "another containerd uses the store") {
		t.Errorf("gc of another containerd's snapshot ends with %d", code)
	}
	n.Snapshotter.Again(t)
	askSnapshotter(t, func(ctx context.Context, client *snapclient.Client) error { return client.Remove(ctx, foreign) })
	n.Snapshotter.Stop(t)
	if out, code := run("gc", "--yes"); code != 0 || !strings.Contains(out, "Removed 1 layer.") {
		t.Errorf("gc ends with %d", code)
	}
	n.Snapshotter.Again(t)
	n.Again(t)
	waitFor(t, n.checkReady)
	if got := n.OperatorLayers(t, noDocker); !maps.Equal(got, want) {
		t.Errorf("after gc the layers are %v, want %v", got, want)
	}
	if got, err := n.execShell(t, box, "cat /etc/motd; ls /opt"); err != nil || got != "changed\nshown" {
		t.Errorf("after gc the container sees %q, %v", got, err)
	}
	p.remove(t)
	n.removeImages(t)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// askSnapshotter calls the snapshotter without containerd.
func askSnapshotter(t *testing.T, ask func(context.Context, *snapclient.Client) error) {
	t.Helper()
	client, err := snapclient.Dial(engine.SnapshotterSocket, engine.SnapshotterName)
	must(t, err)
	must(t, errors.Join(ask(t.Context(), client), client.Close()))
}
