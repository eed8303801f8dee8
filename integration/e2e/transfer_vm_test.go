//go:build vm

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// TestToAnotherHost sends an engine's images to an engine on another pool: everything,
// then the changes of one more build. Its parts depend on their order.
func TestToAnotherHost(t *testing.T) {
	h := newHosts(t)
	t.Run("EverythingIsTransferred", h.transferEverything)
	t.Run("LossIsRefused", h.refuseLoss)
	t.Run("ChangesAreTransferred", h.transferChanges)
}

// hosts is a sending and a receiving engine. They share nothing but files.
type hosts struct {
	a    *testEngine
	b    *engine.Engine
	full int64 // bytes of the first stream
}

const receivedOn = "second/docker"

func newHosts(t *testing.T) *hosts {
	createSecondPool(t, "second")
	h := &hosts{a: newTestEngine(t, "sender", nil)}
	must(t, importBulk(t, h.a.Engine, "large", 30, nil))
	buildImage(t, h.a.Engine, "built")
	startContainer(t, h.a.Engine, "limited", "--storage-opt", "size=64M")
	startContainer(t, h.a.Engine, "plain")
	h.b = engine.Start(t, engine.Options{Root: makeDataRoot(t), Driver: "vfs", Containerd: startContainerd(t)})
	h.b.InstallPlugin(t, receivedOn)
	t.Cleanup(func() { h.a.RemoveContainers(t, "limited", "plain") })
	return h
}

// createSecondPool creates a pool, and destroys it when the test ends.
func createSecondPool(t testing.TB, name string, devices ...string) (files []string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "pool-")
	must(t, err)
	args := []string{"create", "-f", "-O", "mountpoint=none", name}
	if len(devices) == 0 {
		devices = []string{"disk"}
	}
	for _, device := range devices {
		if device == "mirror" {
			args = append(args, device)
			continue
		}
		file := filepath.Join(dir, device)
		must(t, os.WriteFile(file, nil, 0o600))
		must(t, os.Truncate(file, 1<<30))
		files, args = append(files, file), append(args, file)
	}
	run(t, "zpool", args...)
	t.Cleanup(func() {
		run(t, "zpool", "destroy", name)
		must(t, os.RemoveAll(dir))
	})
	return files
}

// send writes a stream into a file through a pipe, as ssh would, and returns its
// length.
func (h *hosts) send(t testing.TB, file string, args ...string) int64 {
	t.Helper()
	out, err := os.Create(file)
	must(t, err)
	defer out.Close()
	cmd := exec.Command(operatorPath, append([]string{"send", "--config-file", h.a.UsedConfig()}, args...)...)
	errs := &strings.Builder{}
	in, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = errs
	must(t, cmd.Start())
	n, err := io.Copy(out, in)
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	t.Logf("%d bytes: %s", n, errs)
	return n
}

// receive runs overlayzfs receive on the other host and returns its output.
func (h *hosts) receive(t testing.TB, code int, file string, args ...string) string {
	t.Helper()
	cmd := exec.Command(operatorPath, append([]string{"receive", "--yes", "--dataset", receivedOn, "--config-file", h.b.UsedConfig()}, args...)...)
	in, err := os.Open(file)
	must(t, err)
	defer in.Close()
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("receive exits with %d, want %d: %s", got, code, out)
	}
	t.Logf("%s", out)
	return string(out)
}

// requireSameImages fails the test unless the receiver has the sender's images,
// verified, and nothing else.
func (h *hosts) requireSameImages(t testing.TB) {
	t.Helper()
	list := func(e *engine.Engine) []string {
		out := e.Docker(t, "images", "--all", "--no-trunc", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}")
		return slices.Sorted(strings.Lines(out + "\n"))
	}
	if got, want := list(h.b), list(h.a.Engine); !slices.Equal(got, want) {
		t.Errorf("the images are\n%s\nwant\n%s", got, want)
	}
	if out := h.b.Docker(t, "ps", "-aq"); out != "" {
		t.Errorf("containers: %s", out)
	}
	out := run(t, operatorPath, "verify", "--config-file", h.b.UsedConfig())
	t.Log(out)
	raw := run(t, operatorPath, "ls", "--json", "--config-file", h.b.UsedConfig())
	var l listing
	must(t, json.Unmarshal([]byte(raw), &l))
	for _, layer := range l.Layers {
		if layer.Kind != "image" {
			t.Errorf("layer %s is %s", layer.ID, layer.Kind)
		}
	}
	if slices.ContainsFunc(inguest.ListDatasets(t, receivedOn), func(name string) bool { return strings.HasPrefix(name, receivedOn+"/") }) {
		t.Error("a limited container's dataset came with it")
	}
}

func (h *hosts) transferEverything(t *testing.T) {
	h.endReceiverEarly(t)
	stream := filepath.Join(t.TempDir(), "stream")
	h.full = h.send(t, stream)
	if out := h.receive(t, 3, stream); !strings.Contains(out, "dockerd is running") {
		t.Errorf("beside a running dockerd: %s", out)
	}
	h.b.Stop(t)
	damaged, err := os.ReadFile(stream)
	must(t, err)
	damaged[len(damaged)/2]++
	spoiled := filepath.Join(t.TempDir(), "spoiled")
	must(t, os.WriteFile(spoiled, damaged, 0o600))
	if out := h.receive(t, 1, spoiled); !strings.Contains(out, "checksum") {
		t.Errorf("a damaged stream: %s", out)
	}
	h.receive(t, 0, stream, "--dry-run")
	if exec.Command("zfs", "list", receivedOn).Run() == nil {
		t.Error("a dry run or a damaged stream left a dataset")
	}
	h.killReceiver(t, damaged)
	h.receive(t, 0, stream)
	h.receive(t, 3, stream) // a second time
	h.b.Driver = engine.PluginName
	h.b.Again(t)
	h.requireSameImages(t)
	if out := runTiny(t, h.b, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	requireIntact(t, h.a.Engine, "limited") // the sender's containers keep running
	requireIntact(t, h.a.Engine, "plain")
}

// killReceiver kills a receiver in the middle of a stream. Nothing of the stream may
// remain.
func (h *hosts) killReceiver(t testing.TB, stream []byte) {
	t.Helper()
	cmd := exec.Command(operatorPath, "receive", "--yes", "--dataset", receivedOn, "--config-file", h.b.UsedConfig())
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = in.Write(stream[:len(stream)/3]) // returns when the receiver has read nearly all of it
	must(t, err)
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the receiver ended before the kill")
	}
	waitFor(t, func() error {
		if exec.Command("zfs", "list", receivedOn).Run() == nil {
			return errors.New("a part of the dataset is there")
		}
		return nil
	})
}

// endReceiverEarly closes the pipe early. No snapshot may remain, for the next stream
// would start from it.
func (h *hosts) endReceiverEarly(t testing.TB) {
	t.Helper()
	out, err := exec.Command("bash", "-c", "set -o pipefail; "+operatorPath+" send --config-file "+h.a.UsedConfig()+" | head -c 100000 | wc -c").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "broken pipe") {
		t.Errorf("%v: %s", err, out)
	}
	if left := run(t, "zfs", "list", "-H", "-o", "name", "-t", "snapshot", h.a.dataset); left != "" {
		t.Errorf("snapshots %s", left)
	}
}

func (h *hosts) refuseLoss(t *testing.T) {
	stream := filepath.Join(t.TempDir(), "stream")
	if n := h.send(t, stream, "--from", "last"); n > h.full/4 {
		t.Errorf("a stream without changes has %d bytes, the full one %d", n, h.full)
	}
	importTiny(t, h.b, "mine")
	h.b.Docker(t, "create", "--network", "none", "--name", "left", "built", "true")
	h.b.Stop(t)
	if out := h.receive(t, 3, stream); !strings.Contains(out, "docker rm") || !strings.Contains(out, "mine:latest") || !strings.Contains(out, "--discard") {
		t.Errorf("receive says\n%s", out)
	}
	if out := h.receive(t, 3, stream, "--discard"); !strings.Contains(out, "docker rm") || strings.Contains(out, "drop them with") {
		t.Errorf("receive says\n%s", out)
	}
	h.b.Again(t)
	h.b.Docker(t, "rm", "left")
	h.b.Stop(t)
	h.receive(t, 0, stream, "--discard")
}

func (h *hosts) transferChanges(t *testing.T) {
	stream := filepath.Join(t.TempDir(), "stream")
	must(t, importBulk(t, h.a.Engine, "more", 3, nil))
	h.a.Docker(t, "rmi", "large")
	if n := h.send(t, stream, "--from", "last"); n < 3*mib || n > h.full/3 {
		t.Errorf("a stream with 3 MB of changes has %d bytes, the full one %d", n, h.full)
	}
	h.receive(t, 0, stream)
	h.b.Again(t)
	h.requireSameImages(t)
	if out := runTiny(t, h.b, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image holds %q", out)
	}
	h.b.Stop(t)
	out := run(t, operatorPath, "receive", "--finish", "--yes", "--dataset", receivedOn, "--config-file", h.b.UsedConfig())
	if !strings.Contains(out, "Done") { // as after an interrupted receive
		t.Errorf("finished again: %s", out)
	}
	h.b.Again(t)
	h.requireSameImages(t)
}
