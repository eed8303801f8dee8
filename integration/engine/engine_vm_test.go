//go:build vm

package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/internal/kerneltest"
)

// TestAnEngineOnThePlugin is what the stock kernel runs of an engine: an imported image, an
// image built with a replaced file, and a container that meets its limit.
func TestAnEngineOnThePlugin(t *testing.T) {
	e := engine.StartOnPlugin(t, engine.Options{Root: t.TempDir()}, "tank/first-light")
	if info := e.Docker(t, "info"); !strings.Contains(info, "Storage Driver: overlayzfs") {
		t.Errorf("docker info:\n%s", info)
	}
	inguest.Must(t, images.Import(e, "base", images.WriteDebian))
	if out := e.Docker(t, "run", "--rm", "--network", "none", "base", "cat", "/etc/debian_version"); out == "" {
		t.Error("no output")
	}
	dir := t.TempDir()
	dockerfile := "FROM base\nRUN echo built >/etc/motd && rm /etc/debian_version && ln -sfn /etc/motd /etc/issue\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	build := e.Command("build", "--network", "none", "-t", "built", dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	look := "cat /etc/issue; test ! -e /etc/debian_version && echo gone"
	if out := e.Docker(t, "run", "--rm", "--network", "none", "built", "sh", "-c", look); out != "built\ngone" {
		t.Errorf("in a container of the image: %q", out)
	}
	full := e.Command("run", "--rm", "--network", "none", "--storage-opt", "size=32M", "built", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=64")
	if out, err := full.CombinedOutput(); err == nil || !strings.Contains(string(out), "Disk quota exceeded") {
		t.Errorf("64 MB in 32: %v\n%s", err, out)
	}
}

// TestChangedFilesWaitForNoTransactionGroup changes files of an image in a container, in a
// limited one and in a build step. What else they wait for takes far fewer transaction groups
// than there are files.
func TestChangedFilesWaitForNoTransactionGroup(t *testing.T) {
	e := engine.StartOnPlugin(t, engine.Options{Root: t.TempDir()}, "tank/changes")
	dir := t.TempDir()
	inguest.Must(t, images.Import(e, "base", images.WriteDebian))
	const files = 100
	dockerfile := "FROM base\nRUN mkdir /many && for i in $(seq 100); do echo below >/many/$i; done\n"
	inguest.Must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600))
	e.Docker(t, "build", "--network", "none", "-t", "many", dir)
	const change = "for f in /many/*; do echo changed >>$f; done"
	inguest.Must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM many\nRUN "+change+"\n"), 0o600))
	for what, args := range map[string][]string{
		"a container":         {"run", "--rm", "--network", "none", "many", "sh", "-ec", change},
		"a limited container": {"run", "--rm", "--network", "none", "--storage-opt", "size=50M", "many", "sh", "-ec", change},
		"a step":              {"build", "--network", "none", "-t", "built", dir},
	} {
		inguest.ExpectCopyUps(t, what, "tank", files, func() { e.Docker(t, args...) })
	}
	says := "which does not wait for a transaction group"
	if !kerneltest.HasPermissionEvents(t) {
		says = "which waits for a transaction group (fanotify_mark of "
	}
	if info := e.Docker(t, "info"); !strings.Contains(info, says) {
		t.Errorf("docker info says nothing of copy-ups:\n%s", info)
	}
}
