//go:build vm

package migrate

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// dataset makes a dataset that goes with the test.
func dataset(t *testing.T, name string) string {
	t.Helper()
	command(t, "zfs", "create", "-o", "mountpoint=legacy", name)
	t.Cleanup(func() { command(t, "zfs", "destroy", "-r", name) })
	return name
}

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// TestClonesLeftHalfMade by a run that was killed between any two of its steps keep
// neither the next run nor an undo.
func TestClonesLeftHalfMade(t *testing.T) {
	name := dataset(t, "tank/clones")
	base, whole, half, early := hexID("base"), hexID("whole"), hexID("half"), hexID("early")
	j := &Job{To: "zfs", ZFSDataset: name, StoreWasEmpty: true}
	made, release, err := j.openZFSStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, fill := made.(zfsStore), func(*os.File) error { return nil }
	for _, layer := range [][2]string{{base, ""}, {whole, base}} {
		if err := s.Create(t.Context(), layer[0], layer[1], overlayzfs.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Fill(t.Context(), layer[0], fill); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), half, whole, overlayzfs.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	command(t, "zfs", "snapshot", s.datasetName(whole)+"@"+early)
	command(t, "zfs", "snapshot", s.datasetName(base)+"@"+early)
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, release, err := j.openZFSStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	layers, err := again.Layers(t.Context())
	want := []string{whole, base} // what others stand on is last
	if err != nil || !slices.Equal(layers, want) {
		t.Errorf("%q, %v, want %q", layers, err, want)
	}
	if err := removeAll(t.Context(), layers, again.Remove); err != nil {
		t.Errorf("what is left cannot be removed: %v", err)
	}
	left, err := zfs.Collect(again.(zfsStore).zfs.Children(name))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestTheEndOfAMountedDirectory: overlay2 had a file system of its own, which stays.
func TestTheEndOfAMountedDirectory(t *testing.T) {
	h := newHost(t, "overlay2")
	h.stacked(hexID("base"), nil, file{"etc/motd", "hello"})
	h.no(os.Rename(h.path("overlay2"), h.path("aside")))
	h.no(os.Mkdir(h.path("overlay2"), 0o710))
	h.no(unix.Mount("tmpfs", h.path("overlay2"), "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(h.path("overlay2"), 0) })
	h.no(os.CopyFS(h.path("overlay2/"+hexID("base")), os.DirFS(h.path("aside/"+hexID("base")))))
	r, err := openDataRoot(h.dir)
	h.no(err)
	defer r.Close()
	s := dirSource{root: r, driver: "overlay2"}
	h.no(s.deleteLayer(t.Context(), hexID("base")))
	h.write("overlay2/left/by/somebody", "x")
	h.no(s.deleteRest(t.Context()))
	if entries, err := os.ReadDir(filepath.Join(h.dir, "overlay2")); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
