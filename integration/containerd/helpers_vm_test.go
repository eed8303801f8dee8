//go:build vm

package containerd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Short names for helpers that every test calls.
var (
	must    = inguest.Must
	waitFor = inguest.WaitFor
)

// snapshotter is the argument that has ctr use the tested snapshotter.
const snapshotter = "--snapshotter=" + engine.SnapshotterName

// testContainerd is a containerd on the snapshotter, and the name space of a test.
type testContainerd struct {
	*engine.Containerd
	space string
	dir   string // on the root disk
}

// newTestContainerd starts containerd on a new dataset, with these settings of the
// snapshotter.
func newTestContainerd(t testing.TB, space string, settings map[string]string) *testContainerd {
	t.Helper()
	n := &testContainerd{space: space, dir: inguest.MakeDiskDir(t)}
	dataset := "tank/layers"
	engine.CreateDataset(t, dataset)
	n.Containerd = engine.StartContainerd(t, engine.ContainerdOptions{
		Root: filepath.Join(n.dir, "containerd"), Dataset: dataset, Settings: settings,
	})
	return n
}

func (n *testContainerd) ctr(t testing.TB, args ...string) string {
	t.Helper()
	return n.Ctr(t, n.space, args...)
}

func (n *testContainerd) try(args ...string) (string, error) { return n.Try(n.space, args...) }

func (n *testContainerd) command(args ...string) *exec.Cmd { return n.Command(n.space, args...) }

// readTree returns an image's tree as a snapshotter mounts it.
func (n *testContainerd) readTree(t testing.TB, snapshotter, image string) *treecmp.Tree {
	t.Helper()
	dir := filepath.Join(n.dir, "view-"+snapshotter)
	must(t, os.Mkdir(dir, 0o700))
	n.ctr(t, "images", "mount", "--snapshotter", snapshotter, image, dir)
	tree, err := treecmp.FromDir(dir)
	n.ctr(t, "images", "unmount", "--rm", "--snapshotter", snapshotter, dir)
	must(t, errors.Join(err, os.Remove(dir)))
	return tree
}
