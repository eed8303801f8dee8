//go:build vm

package systemd

import (
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
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// setupParent is the dataset that setup is given.
const setupParent = "tank/docker"

// daemonJSON is the path of dockerd's configuration.
const daemonJSON = "/etc/docker/daemon.json"

// host is a host with Docker and containerd, run by a systemd.
type host struct {
	*systemdSystem
	sandbox string
}

// startHost starts dockerd and containerd as their packages have it, but for a network, which the
// lab lacks.
func startHost(t *testing.T) *host {
	t.Helper()
	t.Cleanup(func() {
		waitFor(t, func() error { // the name space that mounts them ends after its last process
			return exec.Command("sh", "-c", "! zfs list "+setupParent+" || zfs destroy -r "+setupParent).Run()
		})
	})
	must(t, os.WriteFile(daemonJSON, []byte(`{"iptables": false, "ip6tables": false, "bridge": "none"}`), 0o644))
	t.Cleanup(func() {
		inguest.Run(t, "rm", "-rf", daemonJSON, "/var/lib/docker", "/var/lib/containerd")
	})
	h := &host{systemdSystem: bootSystemd(t)}
	h.run(t, "systemctl", "start", "containerd", "docker")
	return h
}

// describe describes what setup may change: files below /etc, units, datasets, directories.
func (h *host) describe(t *testing.T) map[string]string {
	t.Helper()
	seen := map[string]string{
		"units": h.run(t, "systemctl", "list-unit-files", "--no-legend", "docker.*", "containerd.*", "overlayzfs*"), "datasets": inguest.Run(t, "zfs", "list", "-H", "-o", "name"),
		"state": h.run(t, "ls", "/var/lib"),
	}
	for _, unit := range []string{"docker", "containerd", unit} {
		seen[unit], _ = h.try("systemctl", "is-active", unit)
	}
	must(t, filepath.WalkDir("/etc", func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			seen[path] = "no file"
			return err
		}
		raw, err := os.ReadFile(path)
		seen[path] = string(raw)
		return err
	}))
	return seen
}

func (h *host) readDriver(t *testing.T) string {
	t.Helper()
	return h.run(t, "docker", "info", "-f", "{{.Driver}}")
}

func (h *host) requireDriver(t *testing.T, want string) {
	t.Helper()
	if got := h.readDriver(t); got != want {
		t.Errorf("docker info says %s, want %s", got, want)
	}
}

// TestSetup follows the snapshotter's quick start from the first command to the last: it
// installs the package, puts Docker 28 on the snapshotter by one command, and takes it back
// by another. In between it puts the CRI there, too.
func TestSetup(t *testing.T) {
	text, err := os.ReadFile(filepath.Base(quickStartPage)) // scripts/test puts it beside the test
	must(t, err)
	steps, err := matchQuickStart(string(text))
	must(t, err)
	q := newQuickStart(t)
	walkthrough.Follow(t, steps, q.runStep, q.checks())
}

// sandboxImage returns the image that containerd uses for a pod's sandbox.
func (h *host) sandboxImage(t *testing.T) string {
	t.Helper()
	out := h.run(t, "containerd", "config", "dump")
	found := regexp.MustCompile(`(?m)^\s*sandbox = ['"](\S+)['"]`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("containerd's configuration names no sandbox image:\n%s", out)
	}
	h.sandbox = found[1]
	return h.sandbox
}

// runPod runs a pod's sandbox and requires that it is on the snapshotter.
func (h *host) runPod(t *testing.T, archive string) {
	t.Helper()
	h.run(t, "ctr", "-n", "k8s.io", "images", "import", "--no-unpack", archive)
	conn, err := grpc.NewClient("unix:"+h.hostPath("run/containerd/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	runtime, ctx := cri.NewRuntimeServiceClient(conn), t.Context()
	images := cri.NewImageServiceClient(conn)
	waitFor(t, func() error { // containerd tells the CRI of an image later
		list, err := images.ListImages(ctx, &cri.ListImagesRequest{})
		if err == nil && len(list.Images) == 0 {
			err = fmt.Errorf("the CRI has no image")
		}
		return err
	})
	pod, err := runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "pod", Uid: "uid", Namespace: "default"}, LogDirectory: "/run/pod",
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
		}},
	}})
	must(t, err)
	if out := h.run(t, "ctr", "-n", "k8s.io", "containers", "info", pod.PodSandboxId); !strings.Contains(out, `"Snapshotter": "`+engine.SnapshotterName+`"`) {
		t.Errorf("the pod is not on the snapshotter:\n%s", out)
	}
	_, err = runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.PodSandboxId})
	must(t, err)
	_, err = runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId})
	must(t, err)
}
