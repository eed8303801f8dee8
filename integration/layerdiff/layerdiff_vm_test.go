//go:build vm

package layerdiff

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/docker/docker/daemon/graphdriver"
	_ "github.com/docker/docker/daemon/graphdriver/overlay2" // a peer
	_ "github.com/docker/docker/daemon/graphdriver/vfs"      // a peer
	"github.com/docker/docker/pkg/reexec"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

var (
	stacks = flag.Uint64("stacks", 40, "how many stacks are generated")
	seed   = flag.Uint64("seed", 1, "the seed of the first stack; the others follow; 0 draws one")
)

func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	flag.Parse()
	logrus.SetLevel(logrus.ErrorLevel)
	os.Exit(m.Run())
}

// openMachine opens all drivers in homes of their own.
func openMachine(t *testing.T) *Machine {
	t.Helper()
	dir := t.TempDir()
	process, err := pluginproc.Start("--log-level", "panic")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, process.Stop(), process.Remove()) })
	plugin, err := mobyproxy.Open(process.Socket, graphdriver.Options{Root: filepath.Join(dir, "plugin")})
	check(t, err)
	ours, err := snapshotter.Open(t.Context(), snapshotter.Options{Home: filepath.Join(dir, "snapshotter"), RemapIDs: true}, logrus.StandardLogger())
	check(t, err)
	m := openPeers(t, dir)
	m.Plugin, m.Snapshotter = Graph{plugin}, Snapshots{ours}
	t.Cleanup(func() { check(t, plugin.Cleanup(), ours.Close()) })
	return m
}

// openPeers opens the other drivers in homes of their own below dir.
func openPeers(t *testing.T, dir string) *Machine {
	t.Helper()
	theirs, err := overlay.NewSnapshotter(filepath.Join(dir, "overlayfs"))
	check(t, err)
	overlay2, err := graphdriver.GetDriver("overlay2", nil, graphdriver.Options{Root: dir})
	check(t, err)
	vfs, err := graphdriver.GetDriver("vfs", nil, graphdriver.Options{Root: dir})
	check(t, err)
	t.Cleanup(func() { check(t, theirs.Close(), overlay2.Cleanup(), vfs.Cleanup()) })
	return &Machine{Containerd: Snapshots{theirs}, Overlay2: Graph{overlay2}, VFS: Graph{vfs}}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestStacks compares what the drivers make of generated stacks.
func TestStacks(t *testing.T) { checkStacks(t, openMachine(t)) }

// TestStacksOfTheReader has the plugin's reader in the plugin's place. It needs root and an
// overlayfs, but neither ZFS nor a plugin.
func TestStacksOfTheReader(t *testing.T) {
	dir := t.TempDir()
	m := openPeers(t, dir)
	m.Plugin = NewReader(filepath.Join(dir, "reader"))
	checkStacks(t, m)
}

// TestStacksAreAsRecorded compares each layer of a stack with the record of its tar. Like
// TestStacksOfTheReader, it needs neither ZFS nor a plugin.
func TestStacksAreAsRecorded(t *testing.T) {
	dir := t.TempDir()
	peers := openPeers(t, dir)
	c := &Records{Reader: NewReader(filepath.Join(dir, "reader")), Containerd: peers.Containerd.(Snapshots).Snapshotter, Dir: filepath.Join(dir, "records")}
	checkStacks(t, c)
	fmt.Printf("%d of %d layers are as recorded, and %d unproven\n", c.Proven, c.Compared, c.Compared-c.Proven)
	if *stacks >= 20 && c.Proven < c.Compared/2 {
		t.Errorf("most layers have to be proven")
	}
}

// checkStacks checks the stacks that the flags name.
func checkStacks(t *testing.T, c Checker) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), "layerdiff")
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 60)
	}
	fmt.Printf("stacks of the seeds %d to %d\n", first, first+*stacks-1)
	for at := first; at < first+*stacks; at++ {
		if at > first && (at-first)%1000 == 0 {
			fmt.Printf("%d stacks\n", at-first)
		}
		s := Generate(at)
		found, err := c.Check(ctx, s)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", at, err, s)
		}
		if len(found) == 0 {
			continue
		}
		if s, err = Shrink(ctx, c, s); err != nil {
			t.Fatalf("seed %d: %v\n%s", at, err, s)
		}
		if found, err = c.Check(ctx, s); err != nil {
			t.Fatal(err)
		}
		t.Errorf("seed %d: %q\n%s", at, found, s)
	}
}
