//go:build vm

package imagestore

import (
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/images"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// TestChangedFilesWaitForNoTransactionGroup changes each file of a directory of the image,
// in a container, after restarts, and in a RUN step. What else a build
// waits for takes far fewer transaction groups than there are files.
func TestChangedFilesWaitForNoTransactionGroup(t *testing.T) {
	s := newTestEngine(t, nil)
	s.Docker(t, "load", "-i", images.WriteManyFiles(t, "lab/many:latest"))
	expect := func(what string, do func()) {
		t.Helper()
		inguest.ExpectCopyUps(t, what, "tank", images.ManyFiles, do)
	}
	change := func() { s.MustExec(t, "box", "sh", "-ec", images.ChangeManyFiles) }
	s.Docker(t, "run", "-d", "--network", "none", "--name", "box", "lab/many", "sleep", "1000000")
	expect("a container", change)
	s.RemoveContainers(t, "box")
	s.Docker(t, "create", "--network", "none", "--name", "box", "lab/many", "sleep", "1000000")
	for range 2 {
		s.StartContainers(t, "box")
		s.Docker(t, "stop", "-t", "0", "box")
	}
	s.StartContainers(t, "box")
	expect("a container that was started before", change)
	s.RemoveContainers(t, "box")
	expect("a step", func() {
		must(t, images.BuildKit.Build(s.Engine, "built", images.WriteContext(t, map[string]string{
			"Dockerfile": "FROM lab/many\nRUN " + images.ChangeManyFiles + "\n",
		})))
	})
	if got := s.Docker(t, "run", "--rm", "--network", "none", "built", "cat", "/many/7"); got != "below\nchanged" {
		t.Errorf("the step left %q", got)
	}
}
