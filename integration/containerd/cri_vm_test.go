//go:build vm

package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
)

// background is a context for calls that also run after a test.
var background = context.Background()

var sleepForever = []string{"sleep", "1000000"}

// TestPods makes the calls of a kubelet for pods and containers, while the snapshotter
// and containerd stop, crash and start.
func TestPods(t *testing.T) {
	n := newNode(t, nil)
	n.importImage(t, writeThreeLayers(t))
	p := n.runPod(t, "first")
	box := p.runThreeLayers(t, "box", sleepForever...)
	n.requireOnlyOurs(t)

	t.Run("AContainerChangesFiles", func(t *testing.T) {
		const change = "cat /etc/motd; ls /opt; echo new >/root/note; rm /srv/one; head -c 3000000 /dev/urandom >/root/random"
		if got, err := n.execShell(t, box, change); err != nil || got != "changed\nshown" {
			t.Errorf("the container sees %q, %v", got, err)
		}
		n.requireUsage(t, box)
	})
	t.Run("DaemonsAreKilled", func(t *testing.T) { n.killDaemons(t, box) })
	t.Run("AnotherPodSeesNothingOfIt", func(t *testing.T) {
		other := n.runPod(t, "second")
		fresh := other.runThreeLayers(t, "box", sleepForever...)
		if got, err := n.execShell(t, fresh, "ls /root /srv"); err != nil || strings.Contains(got, "note") || !strings.Contains(got, "one") {
			t.Errorf("a second container sees what the first one did: %q, %v", got, err)
		}
		other.remove(t)
	})
	p.remove(t)
	n.removeImages(t)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// killDaemons kills the snapshotter and stops containerd below a container that has changed
// files.
func (n *node) killDaemons(t *testing.T, box string) {
	const look, want = "cat /root/note; ls /srv", "new\nlarge\ntwo"
	n.Snapshotter.Kill(t)
	if got, err := n.execShell(t, box, look); err != nil || got != want {
		t.Errorf("without the snapshotter the container sees %q, %v", got, err)
	}
	n.Snapshotter.Again(t)
	n.Stop(t)
	n.Again(t)
	waitFor(t, n.checkReady)
	if got, err := n.execShell(t, box, look); err != nil || got != want {
		t.Errorf("after a restart of both the container sees %q, %v", got, err)
	}
}

// TestPodsOfAPulledImage pulls from a registry through the CRI.
func TestPodsOfAPulledImage(t *testing.T) {
	n := newNode(t, nil)
	name := engine.StartRegistry(t) + "/lab/multi:latest"
	n.pushImage(t, name)
	_, err := n.images.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}})
	must(t, err)
	// The CRI unpacks it before a container needs it.
	if got := n.ctr(t, "snapshots", snapshotter, "ls"); strings.Count(got, "Committed") != 3 {
		t.Errorf("an image of three layers has the snapshots\n%s", got)
	}
	p := n.runPod(t, "pulled")
	box := p.runContainer(t, "box", name, sleepForever...)
	if got, err := n.execShell(t, box, "cat /etc/motd; ls /opt"); err != nil || got != "changed\nshown" {
		t.Errorf("the container sees %q, %v", got, err)
	}
	p.remove(t)
	n.removeImages(t)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// pushImage pushes the image with three layers from another name space, and removes it
// there.
func (n *node) pushImage(t *testing.T, name string) {
	t.Helper()
	archive := images.WriteArchive(t, name, nil, images.ThreeLayers(t)...)
	n.Ctr(t, "elsewhere", "images", "import", "--no-unpack", archive)
	n.Ctr(t, "elsewhere", "images", "push", "--plain-http", name)
	n.Ctr(t, "elsewhere", "images", "rm", "--sync", name)
}

// TestPodsHaveTheDefaultLimit sets the snapshotter's default limit. The CRI passes a
// container's annotations to no snapshotter, so that setting alone limits pods.
func TestPodsHaveTheDefaultLimit(t *testing.T) {
	n := newNode(t, map[string]string{"size": "8M"})
	n.importImage(t, writeThreeLayers(t))
	p := n.runPod(t, "limited")
	box := p.runThreeLayers(t, "box", sleepForever...)
	if _, err := n.execShell(t, box, "head -c 2000000 /dev/urandom >/root/fits"); err != nil {
		t.Errorf("2 MB in a container limited to 8M: %v", err)
	}
	_, err := n.execShell(t, box, "head -c 20000000 /dev/urandom >/root/too-much")
	if err == nil || !strings.Contains(err.Error(), "Disk quota exceeded") {
		t.Errorf("20 MB in a container limited to 8M: %v", err)
	}
	p.remove(t)
	n.removeImages(t)
	waitFor(t, engine.CheckNoSnapshotterLayers)
	waitFor(t, func() error { return engine.CheckNoLimitDatasets(t, n.Dataset) })
}

// requireOnlyOurs fails the test unless the CRI uses the configured snapshotter, and no
// other, for the sandbox and its containers.
func (n *node) requireOnlyOurs(t *testing.T) {
	t.Helper()
	ours := n.ctr(t, "snapshots", snapshotter, "ls")
	// The sandbox's image has one layer, the other image three. The sandbox and the
	// container have a snapshot each.
	if committed, active := strings.Count(ours, "Committed"), strings.Count(ours, "Active"); committed != 4 || active != 2 {
		t.Errorf("%d committed and %d active snapshots:\n%s", committed, active, ours)
	}
	if other := n.ctr(t, "snapshots", "--snapshotter", "overlayfs", "ls"); strings.Contains(other, "sha256:") {
		t.Errorf("overlayfs has snapshots:\n%s", other)
	}
}

// requireUsage checks the space of images and containers that the CRI reports. A
// kubelet evicts pods by it.
func (n *node) requireUsage(t *testing.T, container string) {
	t.Helper()
	// The CRI asks the snapshotter for sizes every ten seconds.
	waitFor(t, func() error {
		info, err := n.images.ImageFsInfo(t.Context(), &cri.ImageFsInfoRequest{})
		if err != nil || len(info.ImageFilesystems) != 1 {
			return errors.Join(err, fmt.Errorf("the images' file systems are %v", info.GetImageFilesystems()))
		}
		fs := info.ImageFilesystems[0]
		if used := fs.UsedBytes.GetValue(); used < 20<<20 {
			return fmt.Errorf("images take %d bytes", used)
		}
		if mountpoint := fs.FsId.GetMountpoint(); mountpoint != engine.SnapshotterHome {
			return fmt.Errorf("the images' file system is %s", mountpoint)
		}
		return nil
	})
	waitFor(t, func() error {
		stats, err := n.runtime.ContainerStats(t.Context(), &cri.ContainerStatsRequest{ContainerId: container})
		if err != nil {
			return err
		}
		// Space counts once data is on disk.
		if used := stats.Stats.WritableLayer.GetUsedBytes().GetValue(); used < 3000000 || used > 6000000 {
			return fmt.Errorf("the container's layer takes %d bytes", used)
		}
		return nil
	})
}

func (n *node) removeImages(t *testing.T) {
	t.Helper()
	list, err := n.images.ListImages(t.Context(), &cri.ListImagesRequest{})
	must(t, err)
	for _, image := range list.Images {
		_, err := n.images.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: image.Id}})
		must(t, err)
	}
}
