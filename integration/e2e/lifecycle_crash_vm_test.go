//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// killPlugin kills the plugin's process and waits until the engine has started another.
// The new process gets no Init.
func killPlugin() error {
	pid, err := awaitPlugin(0)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	_, err = awaitPlugin(pid)
	return err
}

// requireNoImage fails the test when a failed command left an image.
func requireNoImage(t *testing.T, s *testEngine, name string) {
	t.Helper()
	if out := s.Docker(t, "images", "-q", name); out != "" {
		t.Errorf("image %s is listed although making it failed", name)
	}
	if out := s.Docker(t, "images", "-aq", "--filter", "dangling=true"); out != "" {
		t.Errorf("images without a name are left: %s", out)
	}
}

func killPluginIdle(t *testing.T, s *testEngine) {
	must(t, killPlugin())
	if out := runTiny(t, s.Engine, "tiny", "cat", "/etc/marker"); out != "tiny" {
		t.Errorf("the image holds %q", out)
	}
	must(t, killPlugin())
	buildImage(t, s.Engine, "built")
	verifyImage(t, s.Engine, "built")
	s.Docker(t, "rmi", "built")
}

func killPluginUnderContainer(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "runner")
	startContainer(t, s.Engine, "removed")
	pid := s.Docker(t, "inspect", "-f", "{{.State.Pid}}", "runner")
	must(t, killPlugin())
	if now := s.Docker(t, "inspect", "-f", "{{.State.Pid}}", "runner"); now != pid {
		t.Errorf("the container's process was %s and is %s", pid, now)
	}
	requireIntact(t, s.Engine, "runner")
	marker := filepath.Join(t.TempDir(), "copied")
	must(t, os.WriteFile(marker, []byte("copied"), 0o644))
	s.Docker(t, "cp", marker, "runner:/copied")
	if out := s.MustExec(t, "runner", "cat", "/copied"); out != "copied" {
		t.Errorf("docker cp put in %q", out)
	}
	s.StopContainers(t, "runner")
	s.StartContainers(t, "runner")
	requireIntact(t, s.Engine, "runner")
	s.StopContainers(t, "runner")
	s.Docker(t, "rm", "runner")
	s.RemoveContainers(t, "removed")
}

// killPluginDuringApply kills the plugin when half of a layer has been unpacked.
func killPluginDuringApply(t *testing.T, s *testEngine) {
	home := s.storeDir(t)
	const size = 24
	err := s.importInterrupted(t, home, size, killPlugin)
	if err == nil {
		t.Fatal("docker import succeeded without the first half of its layer")
	}
	t.Log(err)
	requireNoImage(t, s, "bulk")
	s.requireBaseline(t)
	must(t, importBulk(t, s.Engine, "bulk", size, nil))
	verifyImage(t, s.Engine, "bulk")
	s.Docker(t, "rmi", "bulk")
}

// killBothDuringApply kills plugin and engine when half of a layer has been unpacked.
// No process is left to remove that half, which must not become a layer.
func killBothDuringApply(t *testing.T, s *testEngine) {
	err := s.importInterrupted(t, s.storeDir(t), 24, func() error {
		pid, err := awaitPlugin(0)
		s.Kill(t)
		return errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
	})
	if err == nil {
		t.Fatal("docker import succeeded although the engine died")
	}
	s.againAfterKill(t)
	requireNoImage(t, s, "bulk")
}

// importInterrupted imports the image bulk. It calls act when half of the image has
// been unpacked.
func (s *testEngine) importInterrupted(t *testing.T, home string, size int, act func() error) error {
	t.Helper()
	var disturbed error
	err := importBulk(t, s.Engine, "bulk", size, func() error {
		disturbed = poll(func() error {
			if got := len(listUnpackedFiles(home)); got < size/2-1 {
				return fmt.Errorf("%d of %d files are there", got, size)
			}
			return nil
		})
		if disturbed == nil {
			disturbed = act()
		}
		return nil
	})
	must(t, disturbed)
	return err
}

// interruptApply runs a docker command and calls act as soon as a diff's first files
// have been unpacked.
func interruptApply(t *testing.T, e *engine.Engine, home string, act func() error, args ...string) (string, error) {
	t.Helper()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := e.Try(args...)
		done <- result{out, err}
	}()
	var early *result
	waitFor(t, func() error {
		select {
		case r := <-done:
			early = &r
			return nil
		default:
		}
		if len(listUnpackedFiles(home)) == 0 {
			return errors.New("no diff is being unpacked")
		}
		return nil
	})
	if early != nil {
		t.Fatalf("docker %s ended before it could be interrupted: %v\n%s", strings.Join(args, " "), early.err, early.out)
	}
	disturbed := act()
	r := <-done
	must(t, disturbed)
	return r.out, r.err
}

func killPluginDuringLoad(t *testing.T, s *testEngine) {
	must(t, importBulk(t, s.Engine, "bulk", 64, nil))
	id := readImageID(t, s.Engine, "bulk")
	archive := filepath.Join(t.TempDir(), "bulk.tar")
	s.Docker(t, "save", "-o", archive, "bulk")
	s.Docker(t, "rmi", "bulk")
	s.requireBaseline(t)

	out, err := interruptApply(t, s.Engine, s.storeDir(t), killPlugin, "load", "-i", archive)
	if err == nil {
		t.Errorf("docker load succeeded although its layer was cut: %s", out)
	}
	t.Log(err)
	requireNoImage(t, s, "bulk")
	s.requireBaseline(t)
	s.Docker(t, "load", "-i", archive)
	if now := readImageID(t, s.Engine, "bulk"); now != id {
		t.Errorf("the image was %s and comes back as %s", id, now)
	}
	verifyImage(t, s.Engine, "bulk")
	s.Docker(t, "rmi", "bulk")
}

// killPluginDuringCommit kills the plugin while it streams a container's diff and
// unpacks it into the new layer. The container is stopped the first time and runs the
// second time, which it must survive.
func killPluginDuringCommit(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "author")
	s.MustExec(t, "author", "sh", "-c", "mkdir /big; for i in $(seq 48); do dd if=/dev/urandom of=/big/$i bs=1M count=1; done 2>/dev/null; echo last > /last")
	const sum = "cat /big/* /last | md5sum"
	want := s.MustExec(t, "author", "sh", "-c", sum)
	s.StopContainers(t, "author")
	s.interruptCommit(t, "author")
	s.Docker(t, "commit", "author", "work")
	if got := runTiny(t, s.Engine, "work", "sh", "-c", sum); got != want {
		t.Errorf("the image's files sum up to %s, the container's to %s", got, want)
	}
	verifyImage(t, s.Engine, "work")
	s.Docker(t, "rmi", "work")

	s.StartContainers(t, "author")
	s.interruptCommit(t, "author")
	requireIntact(t, s.Engine, "author")
	s.RemoveContainers(t, "author")
}

// interruptCommit kills the plugin during a commit, which must fail.
func (s *testEngine) interruptCommit(t *testing.T, container string) {
	t.Helper()
	out, err := interruptApply(t, s.Engine, s.storeDir(t), killPlugin, "commit", container, "work")
	if err == nil {
		t.Fatalf("docker commit succeeded although the diff was cut: %s", out)
	}
	t.Log(err)
	requireNoImage(t, s, "work")
}

// disableAndEnablePlugin disables the plugin under its engine and enables it again. The
// first unmounts everything; the second sends no Init.
func disableAndEnablePlugin(t *testing.T, s *testEngine) {
	buildImage(t, s.Engine, "built")
	s.Docker(t, "create", "--network", "none", "--name", "created", "built", "cat", "/both")
	s.Docker(t, "plugin", "disable", "-f", engine.PluginName)
	if err := poll(func() error {
		return compareLists(listMountsBelow(t, filepath.Join(s.Root, "plugins"), s.dataset), nil)
	}); err != nil {
		t.Errorf("mounts of a disabled plugin: %v", err)
	}
	s.Docker(t, "plugin", "enable", engine.PluginName)
	if out := s.Docker(t, "start", "-a", "created"); out != "payload\nbuilt" {
		t.Errorf("the container reads %q", out)
	}
	verifyImage(t, s.Engine, "built")
	s.Docker(t, "rm", "created")
	s.Docker(t, "rmi", "built")
}
