//go:build vm

package e2e

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

const multi = "docker.io/lab/multi:latest"

// threeLayers is an image of a small Debian, changes of it, and more of them.
func threeLayers(t testing.TB) string {
	t.Helper()
	base, err := os.ReadFile("/lab/base/debian-base.tar")
	must(t, err)
	file := func(name, body string) entry {
		return entry{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, body}
	}
	second := layerOf(t,
		file("etc/motd", "changed\n"),
		file("etc/.wh.issue", ""),
		entry{header: tar.Header{Name: "srv/", Mode: 0o750, Typeflag: tar.TypeDir, Uid: 33, Gid: 33}},
		file("srv/one", "1"),
		entry{header: tar.Header{Name: "srv/two", Linkname: "srv/one", Typeflag: tar.TypeLink}},
		entry{header: tar.Header{Name: "srv/pipe", Mode: 0o600, Typeflag: tar.TypeFifo}},
		entry{header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		file("opt/hidden", "below"),
	)
	third := layerOf(t,
		entry{header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		file("opt/.wh..wh..opq", ""),
		file("opt/shown", "above"),
		file("srv/.wh.pipe", ""),
		file("srv/large", strings.Repeat("0123456789abcdef", 1<<16)),
	)
	return archiveOf(t, "lab/multi:latest", base, second, third)
}

// requireSame compares the image on the snapshotter with containerd's overlayfs.
func (n *nest) requireSame(t *testing.T, archive string) {
	t.Helper()
	n.ctr(t, "images", "import", "--snapshotter", "overlayfs", archive)
	want, got := n.tree(t, "overlayfs", multi), n.tree(t, "overlayzfs", multi)
	if len(want.Entries) < 1000 {
		t.Errorf("the image has %d entries only", len(want.Entries))
	}
	for _, difference := range treecmp.Compare(want, got, treecmp.Options{MTimes: true, LooseDirTimes: true}) {
		t.Error(difference)
	}
}

func TestContainerdUnpacksWhatOverlayfsUnpacks(t *testing.T) {
	n, archive := newNest(t, "unpack"), threeLayers(t)
	n.ctr(t, "images", "import", "--snapshotter", "overlayzfs", archive)
	n.requireSame(t, archive)
	committed := strings.Count(n.ctr(t, "snapshots", "--snapshotter", "overlayzfs", "ls"), "Committed")
	if committed != 3 {
		t.Errorf("%d committed snapshots of three layers", committed)
	}
	n.ctr(t, "images", "rm", "--sync", multi)
	eventually(t, func() error { return n.empty() })
}

// empty is an error while there are layers.
func (n *nest) empty() error {
	left, err := filepath.Glob(filepath.Join(n.home, "[0-9]*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("layers are left: %q", left)
	}
	return err
}

func TestContainerdRunsOnWhenTheSnapshotterDies(t *testing.T) {
	n, archive := newNest(t, "run"), threeLayers(t)
	n.ctr(t, "images", "import", "--snapshotter", "overlayzfs", archive)
	n.ctr(t, "run", "--detach", "--snapshotter", "overlayzfs", multi, "box", "sleep", "10000")
	inside := func(id, script string) string {
		return n.ctr(t, "tasks", "exec", "--exec-id", id, "box", "sh", "-c", script)
	}
	if got := inside("a", "cat /etc/motd; echo new >/root/note; ls /opt"); got != "changed\nshown" {
		t.Errorf("the container sees %q", got)
	}
	n.snapshotter.end(t, syscall.SIGKILL)
	if got := inside("b", "echo more >>/root/note; rm /srv/one; cat /root/note"); got != "new\nmore" {
		t.Errorf("without the snapshotter the container sees %q", got)
	}
	n.startSnapshotter(t)
	if got := inside("c", "cat /root/note; ls /srv"); got != "new\nmore\nlarge\ntwo" {
		t.Errorf("with a new snapshotter the container sees %q", got)
	}
	n.ctr(t, "tasks", "kill", "--signal", "KILL", "box")
	eventually(t, func() error { _, err := n.try("tasks", "rm", "box"); return err })
	// A second task of the container finds what the first one wrote.
	if got := n.ctr(t, "snapshots", "--snapshotter", "overlayzfs", "ls"); !strings.Contains(got, "box") {
		t.Errorf("the container's snapshot is gone:\n%s", got)
	}
	n.ctr(t, "containers", "rm", "box")
	n.ctr(t, "images", "rm", "--sync", multi)
	eventually(t, func() error { return n.empty() })
}

func TestTheSnapshotterKilledWhileAnImageIsUnpacked(t *testing.T) {
	n, archive := newNest(t, "kill"), threeLayers(t)
	importing := n.command("images", "import", "--snapshotter", "overlayzfs", archive)
	must(t, importing.Start())
	ended := make(chan error, 1)
	go func() { ended <- importing.Wait() }()
	eventually(t, func() error { return n.unpacking() })
	n.snapshotter.end(t, syscall.SIGKILL)
	t.Logf("the import that was cut: %v", <-ended)
	n.startSnapshotter(t)
	// containerd lets some time pass before it dials again.
	eventually(t, func() error {
		out, err := n.try("images", "import", "--snapshotter", "overlayzfs", archive)
		if err != nil && !strings.Contains(out, "connection refused") {
			t.Fatalf("the import after it: %v\n%s", err, out)
		}
		return err
	})
	n.requireSame(t, archive)
}

// unpacking is an error until files of a layer are there.
func (n *nest) unpacking() error {
	found, err := filepath.Glob(filepath.Join(n.home, "[0-9]*", "diff", "usr", "*"))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("nothing is being unpacked")
	}
	return err
}
