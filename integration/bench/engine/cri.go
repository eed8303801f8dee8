package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// podSpace is containerd's name space for Kubernetes.
const podSpace = "k8s.io"

// pods is a client of a containerd's CRI, and the sandbox that its containers run in. The
// sandbox is in the host's network name space, which needs no CNI.
type pods struct {
	runtime cri.RuntimeServiceClient
	sandbox string
	config  *cri.PodSandboxConfig
	count   int // of containers
}

// startPods connects to the CRI and runs a sandbox, whose image is the one with files.
func (c *storeContender) startPods(ctx context.Context, s *testingStub) {
	conn, err := grpc.NewClient("unix:"+c.containerd.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := conn.Close(); err != nil {
			s.Error(err)
		}
	})
	p := &pods{runtime: cri.NewRuntimeServiceClient(conn)}
	inguest.WaitFor(s, func() error { _, err := p.runtime.Version(ctx, &cri.VersionRequest{}); return err })
	image, err := c.findSandboxImage()
	if err != nil {
		s.Fatal(err)
	}
	c.importSandboxImage(s, image)
	logs := filepath.Join(c.dir, "pods")
	if err := os.Mkdir(logs, 0o700); err != nil {
		s.Fatal(err)
	}
	p.config = &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "pod", Uid: "pod-uid", Namespace: "default"}, LogDirectory: logs,
		DnsConfig: &cri.DNSConfig{Servers: []string{"127.0.0.1"}},
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
		}},
	}
	inguest.WaitFor(s, func() error { // the CRI learns of an image a moment after its import
		made, err := p.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
		p.sandbox = made.GetPodSandboxId()
		return err
	})
	s.Cleanup(func() {
		if err := p.remove(context.Background()); err != nil {
			s.Error(err)
		}
	})
	c.pods = p
}

// remove removes the sandbox with its containers.
func (p *pods) remove(ctx context.Context) error {
	_, err := p.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.sandbox})
	_, removeErr := p.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.sandbox})
	return errors.Join(err, removeErr)
}

var sandboxImageLine = regexp.MustCompile(`(?m)^\s*sandbox(?:_image)? = ['"](\S+)['"]`)

// findSandboxImage returns the image that this containerd uses for a sandbox by default.
func (c *storeContender) findSandboxImage() (string, error) {
	out, err := exec.Command("containerd", "config", "default").Output()
	if err != nil {
		return "", err
	}
	found := sandboxImageLine.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("containerd's configuration names no sandbox image:\n%s", out)
	}
	return string(found[1]), nil
}

// importSandboxImage imports an image of a program that sleeps.
func (c *storeContender) importSandboxImage(s *testingStub, name string) {
	archive := images.WriteArchive(s, name, []string{busybox, "sleep", "1000000"}, images.BusyboxLayer(s))
	c.containerd.Ctr(s, podSpace, "images", "import", "--snapshotter", c.snapshotter, archive)
}

// changeInPod runs the program in a container of the pod.
func changeInPod(ctx context.Context, c *storeContender) (took float64, err error) {
	p := c.pods
	p.count++
	name := fmt.Sprintf("changer-%d", p.count)
	created, err := p.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.sandbox, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: storeImage}, Command: []string{busybox, "sleep", "1000000"},
			LogPath: name + ".log", Linux: &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		_, removeErr := p.runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: created.ContainerId})
		err = errors.Join(err, removeErr)
	}()
	if _, err := p.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return 0, err
	}
	ran, err := p.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: created.ContainerId, Cmd: []string{firstChange, manyDir}})
	if err != nil {
		return 0, err
	}
	return findFirstChange(string(ran.Stdout) + string(ran.Stderr))
}
