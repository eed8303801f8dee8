//go:build vm

package containerd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
)

// kubernetesNamespace is containerd's name space for Kubernetes.
const kubernetesNamespace = "k8s.io"

// node is a containerd as a kubelet uses it. Its pods run in the host's network name
// space, which needs no CNI.
type node struct {
	*testContainerd
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
}

func newNode(t *testing.T, settings map[string]string) *node {
	t.Helper()
	n := &node{testContainerd: newTestContainerd(t, kubernetesNamespace, settings)}
	conn, err := grpc.NewClient("unix:"+n.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	n.runtime, n.images = cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
	t.Cleanup(func() { n.removePods(t) })
	waitFor(t, n.checkReady)
	n.importImage(t, images.WriteArchive(t, n.sandboxImage(t), []string{"/bin/busybox", "sleep", "1000000"}, images.BusyboxLayer(t)))
	return n
}

// checkReady returns an error until the CRI serves.
func (n *node) checkReady() error {
	_, err := n.runtime.Version(background, &cri.VersionRequest{})
	return err
}

// sandboxImage returns the image that this containerd uses for a pod's sandbox. The
// configuration under dist/ does not choose one.
func (n *node) sandboxImage(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("containerd", "--config", engine.Dist(t, "containerd/config.toml"), "config", "dump").Output()
	must(t, err)
	found := regexp.MustCompile(`(?m)^\s*sandbox(?:_image)? = ['"](\S+)['"]`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("containerd's configuration names no sandbox image:\n%s", out)
	}
	return string(found[1])
}

// importImage imports an image without unpacking it, and waits until the CRI knows it.
// A kubelet would pull the image.
func (n *node) importImage(t testing.TB, archive string) {
	t.Helper()
	before := n.imageCount(t)
	n.ctr(t, "images", "import", "--no-unpack", archive)
	waitFor(t, func() error {
		if now := n.imageCount(t); now <= before {
			return fmt.Errorf("the CRI has %d images", now)
		}
		return nil
	})
}

func (n *node) imageCount(t testing.TB) int {
	t.Helper()
	list, err := n.images.ListImages(t.Context(), &cri.ListImagesRequest{})
	must(t, err)
	return len(list.Images)
}

// pod is a pod's sandbox.
type pod struct {
	*node
	id     string
	config *cri.PodSandboxConfig
}

func (n *node) runPod(t testing.TB, name string) *pod {
	t.Helper()
	p := &pod{node: n, config: &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Uid: name + "-uid", Namespace: "default"},
		LogDirectory: filepath.Join(n.dir, "logs"),
		DnsConfig:    &cri.DNSConfig{Servers: []string{"127.0.0.1"}},
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
		}},
	}}
	must(t, os.MkdirAll(p.config.LogDirectory, 0o700))
	resp, err := n.runtime.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: p.config})
	must(t, err)
	p.id = resp.PodSandboxId
	return p
}

// runThreeLayers creates and starts a container of the image with three layers.
func (p *pod) runThreeLayers(t testing.TB, name string, command ...string) string {
	t.Helper()
	return p.runContainer(t, name, threeLayerImage, command...)
}

func (p *pod) runContainer(t testing.TB, name, image string, command ...string) string {
	t.Helper()
	created, err := p.runtime.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: image}, Command: command,
			LogPath: name + ".log", Linux: &cri.LinuxContainerConfig{},
		},
	})
	must(t, err)
	_, err = p.runtime.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: created.ContainerId})
	must(t, err)
	return created.ContainerId
}

// execShell runs a script in a container.
func (n *node) execShell(t testing.TB, container, script string) (string, error) {
	t.Helper()
	resp, err := n.runtime.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: container, Cmd: []string{"sh", "-c", script}})
	must(t, err)
	if resp.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", resp.ExitCode, resp.Stderr)
	}
	return strings.TrimSpace(string(resp.Stdout)), err
}

// remove makes the calls of a kubelet that deletes a pod.
func (p *pod) remove(t testing.TB) {
	t.Helper()
	must(t, p.removePod(p.id))
}

func (n *node) removePod(id string) error {
	_, err := n.runtime.StopPodSandbox(background, &cri.StopPodSandboxRequest{PodSandboxId: id})
	_, removeErr := n.runtime.RemovePodSandbox(background, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return errors.Join(err, removeErr)
}

// removePods removes what a failed test left.
func (n *node) removePods(t testing.TB) {
	list, err := n.runtime.ListPodSandbox(background, &cri.ListPodSandboxRequest{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, p := range list.Items {
		if err := n.removePod(p.Id); err != nil {
			t.Error(err)
		}
	}
}
