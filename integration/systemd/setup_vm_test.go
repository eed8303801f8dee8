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

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// setupParent is the dataset that setup is given.
const setupParent = "tank/docker"

// host is a host with Docker, containerd and the snapshotter's files, run by a systemd.
type host struct {
	*systemdSystem
	daemonJSON, sandbox string
}

// startHost starts dockerd and containerd as their packages have it, but for a network, which the
// lab lacks.
func startHost(t *testing.T) *host {
	t.Helper()
	const file = "/etc/docker/daemon.json"
	t.Cleanup(func() {
		waitFor(t, func() error { // the name space that mounts them ends after its last process
			return exec.Command("sh", "-c", "! zfs list "+setupParent+" || zfs destroy -r "+setupParent).Run()
		})
	})
	installUnits(t)
	inguest.Run(t, "sed", "-i", `s#^dataset = .*#dataset = ""#`, "/etc/overlayzfs/snapshotter.toml")
	h := &host{daemonJSON: `{"iptables": false, "ip6tables": false, "bridge": "none"}`}
	must(t, os.WriteFile(file, []byte(h.daemonJSON), 0o644))
	t.Cleanup(func() {
		inguest.Run(t, "rm", "-rf", file, "/var/lib/docker", "/var/lib/containerd")
	})
	h.systemdSystem = bootSystemd(t)
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

func (h *host) driver(t *testing.T) string {
	t.Helper()
	return h.run(t, "docker", "info", "-f", "{{.Driver}}")
}

// TestSetup puts Docker 28 and the CRI on the snapshotter by one command, and takes it back by
// another.
func TestSetup(t *testing.T) {
	h := startHost(t)
	before, driver := h.describe(t), h.driver(t)
	t.Log(h.run(t, engine.OperatorPath, "setup", setupParent, "--pods", "--yes"))
	if got := h.driver(t); got != engine.SnapshotterName {
		t.Errorf("docker info says %s", got)
	}
	if out := h.run(t, "docker", "image", "ls", "-aq") + h.run(t, "docker", "ps", "-aq"); out != "" {
		t.Errorf("the proof has left %s", out)
	}
	archive := images.WriteArchive(t, h.sandboxImage(t), []string{"/bin/busybox", "sleep", "1000000"}, images.BusyboxLayer(t))
	h.runPod(t, archive)
	if out := h.run(t, engine.OperatorPath, "setup", setupParent, "--pods", "--yes"); !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second time:\n%s", out)
	}

	undo := []string{engine.OperatorPath, "setup", "--undo", "--yes"}
	t.Log(h.run(t, undo...))
	if got := h.driver(t); got != driver {
		t.Errorf("docker info says %s, and said %s", got, driver)
	}
	// An image is there, so that the datasets stay. They go when that is said.
	if out := inguest.Run(t, "zfs", "list", "-H", "-o", "name", setupParent+"/layers"); out == "" {
		t.Error("the layers are gone")
	}
	t.Log(h.run(t, append(undo, "--layers")...))
	if diff := cmp.Diff(before, h.describe(t)); diff != "" {
		t.Errorf("- before setup, + after its undo:\n%s", diff)
	}
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
