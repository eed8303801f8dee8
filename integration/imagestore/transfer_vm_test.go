//go:build vm

package imagestore

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// sentImage has two layers.
const sentImage = "lab/small:1"

// imageFormat prints what has to be the same on another host.
const imageFormat = "{{.Repository}}:{{.Tag}} {{.ID}}"

// TestImagesToAnotherHost sends the images of a Docker with the containerd image store, and
// receives them on another, which has images of its own. The hosts are two stores, one after
// the other.
func TestImagesToAnotherHost(t *testing.T) {
	dir := inguest.MakeDiskDir(t)
	stream := filepath.Join(dir, "images")
	var sent []string
	t.Run("Send", func(t *testing.T) { sent = sendAll(t, stream) })
	t.Run("Receive", func(t *testing.T) {
		s := newTestEngine(t, nil)
		own := s.makeOwnImages(t)
		s.refuseStreams(t, dir, stream, own)
		s.killReceive(t, stream, own)
		s.receiveAll(t, stream, append(own, sent...))
		s.useReceived(t)
	})
}

// listImages returns the names and IDs of an engine's images.
func (s *testEngine) listImages(t testing.TB) []string {
	t.Helper()
	list := strings.Split(s.Docker(t, "images", "--no-trunc", "--format", imageFormat), "\n")
	slices.Sort(list)
	return slices.Compact(list)
}

// sendAll makes images and sends them, and returns their list.
func sendAll(t *testing.T, stream string) []string {
	s := newTestEngine(t, nil)
	must(t, images.Import(s.Engine, "odds", images.WriteOdds))
	s.Docker(t, "load", "-i", images.WriteTwoLayers(t, sentImage))
	s.Docker(t, "tag", sentImage, "registry.invalid/second:name")
	context := images.WriteContext(t, map[string]string{"Dockerfile": "FROM odds\nRUN echo built >/built\nCMD [\"cat\", \"/built\"]\n"})
	s.Docker(t, "build", "--network", "none", "--tag", "built:1", context)
	sent := s.listImages(t)
	s.containerd.RequireOperator(t, s.Root, []string{"send", "--dry-run"}, "Would send", "in name space moby")
	if out, code := s.containerd.Operator(t, s.Root, "send", "--from", "last", "--output", stream); code == 0 || !strings.Contains(out, "no streams of changes") {
		t.Errorf("send --from ends with %d", code)
	}
	if out, code := s.containerd.Operator(t, s.Root, "send", "--namespace", "lab", "--output", stream); code == 0 || !strings.Contains(out, `no images in a name space "lab"`) {
		t.Errorf("send of an empty name space ends with %d", code)
	}
	s.containerd.RequireOperator(t, s.Root, []string{"send", "--output", stream}, "Sent")
	s.Stop(t)
	s.containerd.Stop(t)
	s.containerd.RequireOperator(t, s.Root, []string{"send", "--output", stream + "-stopped"}, "Sent")
	while, after := fileSize(t, stream), fileSize(t, stream+"-stopped")
	if while != after {
		t.Errorf("the stream of a running containerd has %d bytes, that of a stopped one %d", while, after)
	}
	s.containerd.Again(t)
	s.Again(t)
	return sent
}

func fileSize(t testing.TB, name string) int64 {
	t.Helper()
	fi, err := os.Stat(name)
	must(t, err)
	return fi.Size()
}

// makeOwnImages makes images of the receiver: one that keeps its name, and one whose name the
// stream has for another. It returns their list as it is afterwards.
func (s *testEngine) makeOwnImages(t *testing.T) []string {
	t.Helper()
	archive := images.WriteArchive(t, "mine:1", []string{"cat", "/mine"}, images.BusyboxLayer(t))
	s.Docker(t, "load", "-i", archive)
	other := images.WriteArchive(t, "built:1", []string{"sh", "-c", "echo other"}, images.BusyboxLayer(t))
	s.Docker(t, "load", "-i", other)
	mine := s.Docker(t, "images", "--no-trunc", "--format", "{{.ID}}", "mine:1")
	old := s.Docker(t, "images", "--no-trunc", "--format", "{{.ID}}", "built:1")
	return []string{"mine:1 " + mine, "<none>:<none> " + old}
}

// receive runs the operator's command with these flags, and returns its output and exit code.
func (s *testEngine) receive(t testing.TB, args ...string) (string, int) {
	t.Helper()
	return engine.RunOperator(t, append([]string{"receive", "--yes", "--address", s.containerd.Address()}, args...)...)
}

// leases returns the leases of receives.
func (s *testEngine) leases(t testing.TB) []string {
	t.Helper()
	var found []string
	for id := range strings.FieldsSeq(s.containerd.Ctr(t, "moby", "leases", "ls", "--quiet")) {
		if strings.HasPrefix(id, "overlayzfs-receive-") {
			found = append(found, id)
		}
	}
	return found
}

// blobs returns the digests in the content store.
func (s *testEngine) blobs(t testing.TB) []string {
	t.Helper()
	list := strings.Fields(s.containerd.Ctr(t, "moby", "content", "ls", "--quiet"))
	slices.Sort(list)
	return list
}

// refuseStreams receives streams that are cut, damaged, or for no containerd. Nothing of them
// is left.
func (s *testEngine) refuseStreams(t *testing.T, dir, stream string, own []string) {
	t.Helper()
	raw, err := os.ReadFile(stream)
	must(t, err)
	images, blobs := s.listImages(t), s.blobs(t)
	damaged := slices.Clone(raw)
	damaged[len(raw)-len(raw)/4] ^= 1
	for name, tt := range map[string]struct {
		raw  []byte
		says string
	}{
		"cut":            {raw[:len(raw)*3/4], "ends too early"},
		"without an end": {raw[:len(raw)-1], "ends too early"},
		"damaged":        {damaged, "checksum is wrong"},
	} {
		file := filepath.Join(dir, "bad")
		must(t, os.WriteFile(file, tt.raw, 0o600))
		if out, code := s.receive(t, "--input", file); code != 1 || !strings.Contains(out, tt.says) {
			t.Errorf("a stream that is %s ends with %d", name, code)
		}
		if got := s.listImages(t); !slices.Equal(got, images) {
			t.Errorf("a stream that is %s leaves the images %q, before %q", name, got, images)
		}
		if got := s.blobs(t); !slices.Equal(got, blobs) {
			t.Errorf("a stream that is %s leaves blobs: %q, before %q", name, got, blobs)
		}
		if left := s.leases(t); len(left) > 0 {
			t.Errorf("a stream that is %s leaves the leases %q", name, left)
		}
	}
	if out, code := s.receive(t, "--input", stream, "--driver", "other"); code != 1 || !strings.Contains(out, `no working snapshotter "other"`) {
		t.Errorf("without the snapshotter it ends with %d", code)
	}
	if out, code := s.receive(t, "--input", stream, "--dry-run"); code != 0 || !strings.Contains(out, "will be of another image: docker.io/library/built:1") {
		t.Errorf("a dry run ends with %d", code)
	}
	if got := s.listImages(t); !slices.Equal(got, images) || len(own) != len(got) {
		t.Errorf("a dry run leaves the images %q, before %q", got, images)
	}
}

// killReceive kills a receive that has everything but the end of the stream.
func (s *testEngine) killReceive(t *testing.T, stream string, own []string) {
	t.Helper()
	in, err := os.Open(stream)
	must(t, err)
	defer in.Close()
	images, blobs := s.listImages(t), s.blobs(t)
	cmd := exec.Command(engine.OperatorPath, "receive", "--yes", "--address", s.containerd.Address())
	pipe, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.CopyN(pipe, in, fileSize(t, stream)-1)
	must(t, err)
	waitFor(t, func() error {
		if now := s.blobs(t); len(now) == len(blobs) {
			return fmt.Errorf("there are %d blobs as before", len(now))
		}
		return nil
	})
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the killed receive has ended well")
	}
	if got := s.listImages(t); !slices.Equal(got, images) || len(own) != len(got) {
		t.Errorf("a killed receive leaves the images %q, before %q", got, images)
	}
	if left := s.leases(t); len(left) != 1 {
		t.Errorf("a killed receive leaves the leases %q", left)
	}
}

// receiveAll receives the stream twice.
func (s *testEngine) receiveAll(t *testing.T, stream string, want []string) {
	t.Helper()
	slices.Sort(want)
	for _, says := range []string{"0 here already", "0 names new"} {
		out, code := s.receive(t, "--input", stream)
		if code != 0 || !strings.Contains(out, says) || !strings.Contains(out, "Done: ") {
			t.Fatalf("it ends with %d, and does not say %q", code, says)
		}
		if got := s.listImages(t); !slices.Equal(got, want) {
			t.Errorf("the images are %q, want %q", got, want)
		}
		if left := s.leases(t); len(left) > 0 {
			t.Errorf("the leases %q are left", left)
		}
	}
}

// useReceived runs, verifies and saves the received images, also after a restart, and removes
// them.
func (s *testEngine) useReceived(t *testing.T) {
	t.Helper()
	run := func() {
		for image, want := range map[string]string{sentImage: "changed", "registry.invalid/second:name": "changed", "built:1": "built"} {
			if got := s.Docker(t, "run", "--rm", "--pull", "never", "--network", "none", image); got != want {
				t.Errorf("%s prints %q, want %q", image, got, want)
			}
		}
	}
	run()
	s.containerd.RequireOperator(t, s.Root, []string{"verify", sentImage}, "Intact: 2 layers")
	s.Stop(t)
	s.containerd.Stop(t)
	s.containerd.Snapshotter.Stop(t)
	s.containerd.Snapshotter.Again(t)
	s.containerd.Again(t)
	s.Again(t)
	run()
	s.Docker(t, "save", "-o", filepath.Join(s.dir, "saved.tar"), sentImage, "built:1", "odds")
	s.Docker(t, "rmi", sentImage, "registry.invalid/second:name", "built:1", "odds", "mine:1")
	s.Docker(t, "system", "prune", "-af")
	waitFor(t, engine.CheckNoSnapshotterLayers)
}
