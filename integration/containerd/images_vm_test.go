//go:build vm

package containerd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

const threeLayerImage = "docker.io/lab/multi:latest"

func writeThreeLayers(t testing.TB) string {
	t.Helper()
	return images.WriteArchive(t, "lab/multi:latest", []string{"sleep", "1000000"}, images.ThreeLayers(t)...)
}

// unpackImage imports an image and has the snapshotter unpack it.
func (n *testContainerd) unpackImage(t testing.TB, archive string) {
	t.Helper()
	n.ctr(t, "images", "import", snapshotter, archive)
}

// requireSame compares an image's tree on the snapshotter and on containerd's
// overlayfs.
func (n *testContainerd) requireSame(t *testing.T, archive string) {
	t.Helper()
	n.ctr(t, "images", "import", "--snapshotter", "overlayfs", archive)
	want, got := n.readTree(t, "overlayfs", threeLayerImage), n.readTree(t, "overlayzfs", threeLayerImage)
	if len(want.Entries) < 1000 {
		t.Errorf("the image has %d entries only", len(want.Entries))
	}
	for _, difference := range treecmp.Compare(want, got, treecmp.Options{MTimes: true, LooseDirTimes: true}) {
		t.Error(difference)
	}
}

func TestContainerdUnpacksWhatOverlayfsUnpacks(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.unpackImage(t, archive)
	n.requireSame(t, archive)
	committed := strings.Count(n.ctr(t, "snapshots", snapshotter, "ls"), "Committed")
	if committed != 3 {
		t.Errorf("%d committed snapshots of three layers", committed)
	}
	n.ctr(t, "images", "rm", "--sync", threeLayerImage)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

func TestContainersRunOnWhenTheSnapshotterDies(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.unpackImage(t, archive)
	n.ctr(t, "run", "--detach", snapshotter, threeLayerImage, "box", "sleep", "10000")
	inside := func(id, script string) string {
		return n.ctr(t, "tasks", "exec", "--exec-id", id, "box", "sh", "-c", script)
	}
	if got := inside("a", "cat /etc/motd; echo new >/root/note; ls /opt"); got != "changed\nshown" {
		t.Errorf("the container sees %q", got)
	}
	n.Snapshotter.Kill(t)
	if got := inside("b", "echo more >>/root/note; rm /srv/one; cat /root/note"); got != "new\nmore" {
		t.Errorf("without the snapshotter the container sees %q", got)
	}
	n.Snapshotter.Again(t)
	if got := inside("c", "cat /root/note; ls /srv"); got != "new\nmore\nlarge\ntwo" {
		t.Errorf("with a new snapshotter the container sees %q", got)
	}
	n.ctr(t, "tasks", "kill", "--signal", "KILL", "box")
	waitFor(t, func() error { _, err := n.try("tasks", "rm", "box"); return err })
	if got := n.ctr(t, "snapshots", snapshotter, "ls"); !strings.Contains(got, "box") {
		t.Errorf("the container's snapshot is gone:\n%s", got)
	}
	// A second task of the container finds what the first one wrote.
	n.ctr(t, "tasks", "start", "--detach", "box")
	if got := inside("d", "cat /root/note"); got != "new\nmore" {
		t.Errorf("the second task sees %q", got)
	}
	n.ctr(t, "tasks", "kill", "--signal", "KILL", "box")
	waitFor(t, func() error { _, err := n.try("tasks", "rm", "box"); return err })
	n.ctr(t, "containers", "rm", "box")
	n.ctr(t, "images", "rm", "--sync", threeLayerImage)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

func TestAnImageIsUnpackedAgainAfterTheSnapshotterWasKilled(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	importing := n.command("images", "import", snapshotter, archive)
	must(t, importing.Start())
	ended := make(chan error, 1)
	go func() { ended <- importing.Wait() }()
	waitFor(t, engine.CheckUnpacking)
	inguest.RequireRunning(t, "ctr images import", ended)
	n.Snapshotter.Kill(t)
	t.Logf("the interrupted import: %v", <-ended)
	n.Snapshotter.Again(t)
	// containerd pauses before it dials again.
	waitFor(t, func() error {
		out, err := n.try("images", "import", snapshotter, archive)
		if err != nil && !strings.Contains(out, "connection refused") {
			t.Fatal(err)
		}
		return err
	})
	n.requireSame(t, archive)
}

// TestContainersOfOneImageDoNotSeeEachOther runs containers that write to the same
// names.
func TestContainersOfOneImageDoNotSeeEachOther(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.unpackImage(t, archive)
	script := func(i int) string {
		return fmt.Sprintf("echo %[1]d >>/etc/motd; rm -r /opt; mkdir /opt; echo %[1]d >/opt/mine; cat /etc/motd /opt/*; ls /opt", i)
	}
	for i := range 3 {
		name := fmt.Sprintf("box-%d", i)
		got := n.ctr(t, "run", "--rm", snapshotter, threeLayerImage, name, "sh", "-ec", script(i))
		if want := fmt.Sprintf("changed\n%d\n%d\nmine", i, i); got != want {
			t.Errorf("%s sees %q, want %q", name, got, want)
		}
	}
	n.requireSame(t, archive)
}

// TestALabelLimitsAContainer gives a container its own limit by a label of its
// snapshot.
func TestALabelLimitsAContainer(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.unpackImage(t, archive)
	label := "--snapshotter-label=containerd.io/snapshot/overlayzfs.size=8M"
	const script = "exec 2>&1; head -c 2000000 /dev/urandom >/root/fits && echo fits; head -c 20000000 /dev/urandom >/root/too-much"
	out, err := n.try("run", "--rm", snapshotter, label, threeLayerImage, "limited", "sh", "-c", script)
	if err == nil || !strings.HasPrefix(out, "fits\n") || !strings.Contains(out, "Disk quota exceeded") {
		t.Errorf("22 MB in a container limited to 8M: %q, %v", out, err)
	}
	n.ctr(t, "images", "rm", "--sync", threeLayerImage)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// TestOwnersAreMappedInAUserNamespace runs a container in a user name space. The mount
// maps the owners of the image's files.
func TestOwnersAreMappedInAUserNamespace(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.unpackImage(t, archive)
	const script = "cat /proc/self/uid_map; echo new >/root/note; chown 7:8 /srv/one; stat -c '%u:%g %n' / /etc/motd /root/note /srv/one"
	got, err := n.try("run", "--rm", snapshotter, "--remap-labels", "--uidmap=0:100000:65536", "--gidmap=0:100000:65536", threeLayerImage, "mapped", "sh", "-ec", script)
	if strings.Contains(n.ctr(t, "version"), "Version:  1.") {
		// containerd 1.7 could only copy the image, without the capability remap-ids.
		if err == nil || !strings.Contains(got, "invalid argument") {
			t.Errorf("containerd 1.7 maps owners by mounts: %q, %v. The documents say it cannot", got, err)
		}
		return
	}
	want := strings.Fields("0 100000 65536 0:0 / 0:0 /etc/motd 0:0 /root/note 7:8 /srv/one")
	if err != nil || !slices.Equal(strings.Fields(got), want) {
		t.Errorf("the container sees %q, %v, want %q", got, err, want)
	}
	n.requireSame(t, archive)
}
