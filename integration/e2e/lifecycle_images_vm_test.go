//go:build vm

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// tinyPrograms are the programs of the image tiny.
var tinyPrograms = []string{"sh", "cat", "sleep", "dd", "md5sum", "ls", "mkdir", "rm", "seq", "test", "true", "df"}

// writeTinyTar returns the root file system of a small image: busybox, and a file that
// names the image.
func writeTinyTar(t testing.TB, marker string) []byte {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/"} {
		must(t, w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	must(t, writeTarFile(w, "bin/busybox", 0o755, busybox))
	for _, name := range tinyPrograms {
		must(t, w.WriteHeader(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}))
	}
	must(t, writeTarFile(w, "etc/marker", 0o644, []byte(marker)))
	must(t, w.Close())
	return b.Bytes()
}

func writeTarFile(w *tar.Writer, name string, mode int64, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// importTiny imports the small image, marked with its name.
func importTiny(t testing.TB, e *engine.Engine, name string) {
	t.Helper()
	cmd := e.Command("import", "-c", `CMD ["sleep","1000000"]`, "-", name)
	cmd.Stdin = bytes.NewReader(writeTinyTar(t, name))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
}

// writeBulkTar writes a tar of files that do not compress. It calls gate, when not nil,
// in the middle, and goes on when gate returns.
func writeBulkTar(w io.Writer, megabytes int, gate func() error) error {
	random := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	out := tar.NewWriter(w)
	for i := range megabytes {
		if i == megabytes/2 && gate != nil {
			if err := out.Flush(); err != nil {
				return err
			}
			if err := gate(); err != nil {
				return err
			}
		}
		_, _ = random.Read(block) // never fails
		if err := writeTarFile(out, fmt.Sprintf("bulk-%03d", i), 0o644, block); err != nil {
			return err
		}
	}
	return out.Close()
}

// importBulk imports the tar of writeBulkTar.
func importBulk(t testing.TB, e *engine.Engine, name string, megabytes int, gate func() error) error {
	t.Helper()
	cmd := e.Command("import", "-", name)
	in, err := cmd.StdinPipe()
	must(t, err)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	fed := make(chan error, 1)
	go func() {
		err := writeBulkTar(in, megabytes, gate)
		in.Close() // the engine may have hung up already
		fed <- err
	}()
	err = cmd.Wait()
	in.Close()
	feed := <-fed
	if err == nil && feed != nil {
		t.Errorf("import succeeded without the rest of its stream: %v", feed)
	}
	if err != nil {
		return fmt.Errorf("docker import: %w\n%sits input: %v", err, out.String(), feed)
	}
	return nil
}

func readImageID(t testing.TB, e *engine.Engine, image string) string {
	t.Helper()
	var found struct {
		ID string `json:"Id"`
	}
	e.Ask(t, "/images/"+image+"/json", &found)
	return found.ID
}

// verifyImage saves the image and checks every digest: blobs against their names,
// layers against the image's configuration.
func verifyImage(t testing.TB, e *engine.Engine, image string) {
	t.Helper()
	archive, err := e.Get(t.Context(), "/images/"+image+"/get")
	must(t, err)
	defer archive.Close()
	blobs, err := hashBlobs(archive)
	must(t, err)
	config, ok := blobs[strings.TrimPrefix(readImageID(t, e, image), "sha256:")]
	if !ok {
		t.Fatalf("saving %s: no configuration comes out", image)
	}
	var c struct {
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	must(t, json.Unmarshal(config, &c))
	if len(c.Rootfs.DiffIDs) == 0 {
		t.Fatalf("saving %s: no layers", image)
	}
	for _, id := range c.Rootfs.DiffIDs {
		if _, ok := blobs[strings.TrimPrefix(id, "sha256:")]; !ok {
			t.Errorf("saving %s: layer %s is not what comes out", image, id)
		}
	}
}

// hashBlobs reads an image's archive. It returns the members by the digest of their
// content, each with its first megabyte.
func hashBlobs(r io.Reader) (map[string][]byte, error) {
	blobs := make(map[string][]byte)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // the padding
			return blobs, err
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		hash, head := sha256.New(), new(bytes.Buffer)
		if _, err := io.CopyN(io.MultiWriter(hash, head), archive, min(header.Size, 1<<20)); err != nil {
			return nil, err
		}
		if _, err := io.Copy(hash, archive); err != nil {
			return nil, err
		}
		sum := hex.EncodeToString(hash.Sum(nil))
		if dir, name := path.Split(header.Name); dir == "blobs/sha256/" && name != sum {
			return nil, fmt.Errorf("blob %s has the digest %s", name, sum)
		}
		blobs[sum] = head.Bytes()
	}
}

// writeBuildContext writes a build context: a Dockerfile of three layers on tiny.
func writeBuildContext(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(
		"FROM tiny\nCOPY payload /payload\nRUN echo built > /etc/built && rm /etc/marker\nRUN cat /payload /etc/built > /both\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "payload"), []byte("payload\n"), 0o644))
	return dir
}

// buildImage builds with the classic builder, which streams and applies a diff for each
// step.
func buildImage(t testing.TB, e *engine.Engine, name string) {
	t.Helper()
	cmd := e.Command("build", "-q", "--network", "none", "--rm", "-t", name, writeBuildContext(t))
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

// runTiny runs a command in a container that is removed afterwards.
func runTiny(t testing.TB, e *engine.Engine, image string, args ...string) string {
	t.Helper()
	return e.Docker(t, append([]string{"run", "--rm", "--network", "none", image}, args...)...)
}

// startContainer starts a container that keeps running. It has a file of its own, which a later
// start leaves alone: what is looked at after it is not being written.
func startContainer(t testing.TB, e *engine.Engine, name string, options ...string) {
	t.Helper()
	e.Docker(t, append(append([]string{"run", "-d", "--stop-signal", "KILL", "--network", "none", "--name", name}, options...),
		"tiny", "sh", "-c", "[ -e /own ] || { echo "+name+" > /own; rm /etc/marker; }; exec sleep 1000000")...)
	waitFor(t, func() error {
		c, err := e.InspectContainer(name)
		if err != nil {
			return err
		}
		root := fmt.Sprintf("/proc/%d/root", c.State.Pid)
		own, err := os.ReadFile(filepath.Join(root, "own"))
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(root, "etc/marker")); len(own) == 0 || err == nil {
			return fmt.Errorf("container %s has not made its changes", name)
		}
		return nil
	})
}

// requireIntact fails the test unless the container has what startContainer made, and
// can be written to.
func requireIntact(t testing.TB, e *engine.Engine, name string) {
	t.Helper()
	if out := e.MustExec(t, name, "sh", "-c", "cat /own; ls /etc; echo more > /more; cat /more; rm /more"); strings.Fields(out)[0] != name || strings.Contains(out, "marker") || !strings.HasSuffix(out, "more") {
		t.Errorf("the content of container %s: %s", name, out)
	}
}

func checkRunning(e *engine.Engine, name string) error {
	c, err := e.InspectContainer(name)
	if err == nil && c.State.Status != "running" {
		err = fmt.Errorf("container %s is %s", name, c.State.Status)
	}
	return err
}
