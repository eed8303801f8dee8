//go:build vm

package containerd

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

const manyFilesImage = "docker.io/lab/many:latest"

// expectCopyUps changes each file of a directory of the image.
func expectCopyUps(t *testing.T, what string, change func()) {
	t.Helper()
	inguest.ExpectCopyUps(t, what, "tank", images.ManyFiles, change)
}

// TestChangedFilesWaitForNoTransactionGroup changes files of an image in containers whose
// mounts ctr makes, limited or not.
func TestChangedFilesWaitForNoTransactionGroup(t *testing.T) {
	n := newTestContainerd(t, "lab", nil)
	n.unpackImage(t, images.WriteManyFiles(t, "lab/many:latest"))
	expectCopyUps(t, "a container", func() {
		n.ctr(t, "run", "--rm", snapshotter, manyFilesImage, "box", "sh", "-ec", images.ChangeManyFiles)
	})
	expectCopyUps(t, "a limited container", func() {
		n.ctr(t, "run", "--rm", snapshotter, "--snapshotter-label=containerd.io/snapshot/overlayzfs.size=50M",
			manyFilesImage, "limited", "sh", "-ec", images.ChangeManyFiles)
	})
	if !strings.Contains(n.ctr(t, "version"), "Version:  1.") { // containerd 1.7 cannot map owners by mounts
		expectCopyUps(t, "a container in a user namespace", func() {
			n.ctr(t, "run", "--rm", snapshotter, "--remap-labels", "--uidmap=0:100000:65536", "--gidmap=0:100000:65536",
				manyFilesImage, "mapped", "sh", "-ec", images.ChangeManyFiles)
		})
	}
	n.ctr(t, "images", "rm", "--sync", manyFilesImage)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// TestChangedFilesOfAPodWaitForNoTransactionGroup does the same through the CRI.
func TestChangedFilesOfAPodWaitForNoTransactionGroup(t *testing.T) {
	n := newNode(t, nil)
	n.importImage(t, images.WriteManyFiles(t, "lab/many:latest"))
	p := n.runPod(t, "pod")
	box := p.runContainer(t, "box", manyFilesImage, sleepForever...)
	expectCopyUps(t, "a pod's container", func() {
		if out, err := n.execShell(t, box, images.ChangeManyFiles); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	n.removePods(t)
}
