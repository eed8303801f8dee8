//go:build vm

package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// The images that are sent, and a name space that is not Kubernetes'.
const (
	podImage   = "docker.io/lab/pod:1"
	plainImage = "docker.io/lab/plain:1"
	plainSpace = "lab"
)

// TestImagesToAnotherNode sends the images of two name spaces of a node, and receives them on
// another, which has an image of its own by a name that is sent. The nodes are two stores, one
// after the other.
func TestImagesToAnotherNode(t *testing.T) {
	stream := filepath.Join(inguest.MakeDiskDir(t), "images")
	t.Run("Send", func(t *testing.T) { sendNode(t, stream) })
	t.Run("Receive", func(t *testing.T) {
		n := newNode(t, nil)
		n.refuseToLose(t, stream)
		n.runReceived(t)
	})
}

// sendNode makes images and sends them, then without one whose layer is discarded.
func sendNode(t *testing.T, stream string) {
	n := newNode(t, nil)
	noDocker := filepath.Join(n.dir, "docker")
	n.importImage(t, images.WriteTwoLayers(t, podImage))
	n.Ctr(t, plainSpace, "images", "import", snapshotter, images.WriteTwoLayers(t, plainImage))
	n.RequireOperator(t, noDocker, []string{"send", "--output", stream}, "in name space k8s.io, "+plainSpace)
	n.RequireOperator(t, noDocker, []string{"send", "--namespace", plainSpace, "--output", stream + "-one"}, "1 image name and 4 blobs in name space "+plainSpace)

	upper := n.findUpperLayer(t)
	_, encoded, _ := strings.Cut(upper, ":")
	must(t, os.Remove(filepath.Join(n.Root, "io.containerd.content.v1.content/blobs/sha256", encoded)))
	args := []string{"send", "--output", stream + "-other"}
	if out, code := n.Operator(t, noDocker, args...); code != 3 || !strings.Contains(out, podImage+" in name space k8s.io: containerd lacks its blob "+upper) {
		t.Errorf("send without a layer ends with %d", code)
	}
	n.RequireOperator(t, noDocker, append(args, "--skip-incomplete"), "in name space k8s.io, of containerd", "incomplete: "+plainImage)
}

// findUpperLayer returns the digest of the topmost layer of the images.
func (n *node) findUpperLayer(t testing.TB) string {
	t.Helper()
	for digest := range strings.FieldsSeq(n.Ctr(t, plainSpace, "content", "ls", "--quiet")) {
		if strings.Contains(n.Ctr(t, plainSpace, "content", "get", digest), "changed\n") {
			return digest
		}
	}
	t.Fatal("the content store has no layer with etc/motd")
	return ""
}

// refuseToLose receives the stream where it takes the last name of an image.
func (n *node) refuseToLose(t *testing.T, stream string) {
	t.Helper()
	own := images.WriteArchive(t, plainImage, []string{"/bin/busybox", "echo", "own"}, images.BusyboxLayer(t))
	n.Ctr(t, plainSpace, "images", "import", snapshotter, own)
	before := n.Ctr(t, plainSpace, "images", "ls")
	args := []string{"receive", "--yes", "--address", n.Address(), "--input", stream}
	if out, code := engine.RunOperator(t, args...); code != 3 || !strings.Contains(out, "image "+plainImage+" in name space "+plainSpace+" has no other name here") {
		t.Errorf("receive of the name of another image ends with %d", code)
	}
	if after := n.Ctr(t, plainSpace, "images", "ls"); after != before {
		t.Errorf("the refused receive leaves %q, before %q", after, before)
	}
	if out, code := engine.RunOperator(t, append(args, "--discard")...); code != 0 || !strings.Contains(out, "Done: ") {
		t.Fatalf("receive ends with %d", code)
	}
	if left := n.Ctr(t, plainSpace, "leases", "ls", "--quiet"); strings.Contains(left, "overlayzfs") {
		t.Errorf("receive leaves the leases %q", left)
	}
}

// runReceived runs what was received: by ctr, and in a pod, as the kubelet does without a
// pull.
func (n *node) runReceived(t *testing.T) {
	t.Helper()
	if got := n.Ctr(t, plainSpace, "run", "--rm", snapshotter, plainImage, "box", "/bin/busybox", "cat", "/etc/motd"); got != "changed" {
		t.Errorf("the received image prints %q", got)
	}
	waitFor(t, func() error {
		list, err := n.images.ListImages(t.Context(), &cri.ListImagesRequest{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list.Images, func(i *cri.Image) bool { return slices.Contains(i.RepoTags, podImage) }) {
			return fmt.Errorf("the CRI does not list %s: %v", podImage, list.Images)
		}
		return nil
	})
	waitFor(t, func() error { // two of each name space; the container of ctr is going
		layers, err := engine.SnapshotterLayers()
		if err == nil && len(layers) != 4 {
			err = fmt.Errorf("the store has %d layers of images that were received", len(layers))
		}
		return err
	})
	p := n.runPod(t, "first")
	box := p.runContainer(t, "box", podImage, "/bin/busybox", "sleep", "1000000")
	if resp, err := n.runtime.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: box, Cmd: []string{"/bin/busybox", "cat", "/etc/motd"}}); err != nil || string(resp.Stdout) != "changed\n" {
		t.Errorf("the container of the pod sees %q, %v", resp.GetStdout(), err)
	}
	p.remove(t)
	n.Ctr(t, plainSpace, "images", "rm", "--sync", plainImage)
	n.removeImages(t)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}
